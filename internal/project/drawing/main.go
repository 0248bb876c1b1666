// Command drawing draws who uses whom among the files of some packages: which
// file stands above which, and which uses run back up.
//
//	drawing [-root DIR] [PATTERN ...]
//
// Without a pattern it draws "./delivery ./delivery/internal/...". Package storeys says
// how files come to stand where they stand. The highest package comes first, and in it
// the highest file, with the files that it uses although they stand above it; the last
// line is about all of them.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/nexthop-mail/nexthop/internal/project/storeys"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "drawing:", err)
		os.Exit(1)
	}
}

// run prints the drawing that args ask for.
func run(args []string, w io.Writer) error {
	flags := flag.NewFlagSet("drawing", flag.ContinueOnError)
	root := flags.String("root", ".", "a folder of the module")
	if err := flags.Parse(args); err != nil {
		return err
	}
	patterns := flags.Args()
	if len(patterns) == 0 {
		patterns = []string{"./delivery", "./delivery/internal/..."}
	}
	uses, err := storeys.Load(*root, patterns)
	if err != nil {
		return err
	}
	storeys.Draw(uses).Print(w)
	return nil
}
