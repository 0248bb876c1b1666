// Command spool examines the directory of a durable queue that no program has open:
//
//	spool check DIR   list damage, and the messages concerned
//	spool dump DIR    show every record, one per line
//
// It changes nothing. The exit status is 0 if there is no damage, 1 if check found
// some, 64 for an unknown command, 69 if the directory cannot be read, and 75 if
// another program has it open.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nexthop-mail/nexthop/queue/disk"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

const (
	exitDamage   = 1
	exitUsage    = 64
	exitNoSpool  = 69
	exitTryAgain = 75
)

func run(args []string, out, errs io.Writer) int {
	if len(args) != 2 || args[0] != "check" && args[0] != "dump" {
		fmt.Fprintln(errs, "usage: spool check DIR | spool dump DIR")
		return exitUsage
	}
	if args[0] == "dump" {
		return status(disk.Dump(args[1], out), errs)
	}
	problems, err := disk.Check(args[1])
	if err != nil {
		return status(err, errs)
	}
	for _, p := range problems {
		fmt.Fprintln(out, p)
	}
	if len(problems) > 0 {
		return exitDamage
	}
	return 0
}

func status(err error, errs io.Writer) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(errs, "spool:", err)
	if errors.Is(err, disk.ErrLocked) {
		return exitTryAgain
	}
	return exitNoSpool
}
