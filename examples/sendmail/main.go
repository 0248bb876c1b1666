//go:build unix

// Command sendmail accepts mail from programs on this machine, such as cron and PHP,
// and delivers it to MX hosts or through a smart host. It has the usual command line of
// sendmail:
//
//	sendmail [-t] [-i] [-f FROM] [-F NAME] [RECIPIENT...] < message
//	sendmail -bs               SMTP on standard input and output
//	sendmail -bp, mailq        show the queue
//	sendmail -q                try the queued mail now
//	sendmail -bd               run the queue runner
//
// One process, the queue runner, owns the queue and delivers. All other calls pass
// their message to it, and exit with 0 once the message would survive a power cut:
//
//  1. The message is completed: From, Date and Message-ID are added, Bcc is removed
//     (compose).
//  2. It is sent to the runner through a socket (client.go). The kernel tells the
//     runner which user the submitter is.
//  3. If no runner is running, or it does not answer, or it has too many messages of the
//     user at a time, the message is put into the maildrop (drop.go), a directory to
//     which all users may add files, and in which they cannot read, replace or remove
//     the files of others. The runner takes it from there (collect.go). The owner of
//     the file is the submitter.
//  4. The runner (runner.go) resolves aliases, rewrites senders (address.go), adds a
//     Received field with the user's id, enforces the quota of users (quota.go), and
//     delivers.
//
// The program is not set-user-id or set-group-id. The runner needs no privilege either:
// it is the owner of the queue and of the maildrop.
//
// The configuration is a file, /etc/nexthop/sendmail.conf, with one setting per line,
// or the environment (config.go). Exit codes are those of sysexits.h: 0 accepted, 64
// usage, 65 no recipients or bad addresses, 69 no runner to ask, 75 try again, 77 not
// allowed, 78 bad configuration.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

func main() {
	cli.IgnoreBrokenPipes()
	ctx, stop := cli.UntilStopped()
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

// exitIO is the code of sysexits.h for output that cannot be written.
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
		return send(o, c, cli.Input(ctx, stdin))
	}
}
