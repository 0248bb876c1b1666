//go:build unix

// Command sendmail takes mail from programs of this machine, as cron and PHP send it, and
// delivers it: to MX hosts, or through a smart host. It is called as sendmail always was:
//
//	sendmail [-t] [-i] [-f FROM] [-F NAME] [RECIPIENT...] < message
//	sendmail -bs               SMTP on standard input and output
//	sendmail -bp, mailq        what waits
//	sendmail -q                try what waits now
//	sendmail -bd               run the queue runner
//
// One program, the queue runner, has the queue and delivers. All others hand their message
// to it, and say that it was taken when it would survive a power cut:
//
//  1. The message is completed: From, Date and Message-ID are added, Bcc is removed (compose).
//  2. It goes to the runner by a socket (client.go), which tells the runner who the submitter
//     is: the kernel says so, not the submitter.
//  3. If no runner runs, it goes into the maildrop (drop.go), a directory to which everybody
//     may add files and in which nobody may read, replace or remove those of others. The
//     runner takes it from there (collect.go). The owner of the file is the submitter.
//  4. The runner (runner.go) resolves aliases, rewrites senders (address.go), adds a Received
//     field with the user's id, holds users to their quota (quota.go), and delivers.
//
// No program is set-user-id or set-group-id. The runner needs no privilege either: it is
// the owner of the queue and of the maildrop.
//
// The configuration is a file, /etc/nexthop/sendmail.conf, with a setting a line, or the
// environment (config.go). Exit codes are those of sysexits.h: 0 taken, 64 usage, 65 no
// recipients or bad addresses, 69 no runner to ask, 75 try again, 77 not allowed, 78 bad
// configuration.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

func main() {
	cli.IgnoreBrokenPipes()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run is main with its surroundings passed in.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	name := filepath.Base(args[0])
	o, err := parseArguments(name, args[1:])
	if err == nil && o.mode == modeNothing {
		return cli.ExitOK
	}
	if err == nil && o.mode == modeVersion {
		fmt.Fprintln(stdout, cli.Version("sendmail"))
		return cli.ExitOK
	}
	var c *config
	if err == nil {
		c, err = readConfig(o.config, os.Environ())
	}
	if err == nil {
		err = do(ctx, o, c, stdin, stdout, stderr)
	}
	if _, ok := errors.AsType[*cli.Error](err); err != nil && !ok {
		err = &cli.Error{Code: exitIO, Err: err}
	}
	if err != nil {
		return cli.Complain(stderr, name, err)
	}
	return cli.ExitOK
}

// exitIO is that of sysexits.h for output that cannot be written.
const exitIO = 74

// do does what the command line asks for.
func do(ctx context.Context, o *options, c *config, stdin io.Reader, stdout, stderr io.Writer) error {
	switch o.mode {
	case modeSMTP:
		return serveSMTP(ctx, c, stdin, stdout)
	case modeList:
		return list(ctx, c, stdout)
	case modeQueue:
		return flush(ctx, c, stderr)
	case modeRunner:
		return runQueue(ctx, c, stderr)
	default:
		return send(o, c, stdin)
	}
}
