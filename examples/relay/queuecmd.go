package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

const queueUsage = "relay queue [-queue WHERE] list|show ID|flush [DOMAIN]|hold ID|release ID|drop ID [-json]"

// administer is the command "relay queue": on the queue itself where nobody has it
// open, else through the relay that has.
func administer(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	where, o, err := parseQueueFlags(args, stderr)
	if err == nil {
		err = administerAt(ctx, where, o, stdout)
	}
	if err != nil {
		return cli.Complain(stderr, "relay queue", err)
	}
	return cli.ExitOK
}

// parseQueueFlags lets flags stand before and after the words.
func parseQueueFlags(args []string, stderr io.Writer) (where string, o operation, err error) {
	fs := flag.NewFlagSet("relay queue", flag.ContinueOnError)
	fs.StringVar(&where, "queue", defaultQueue, "`WHERE` mail waits: a directory, postgres://...")
	fs.BoolVar(&o.JSON, "json", false, "JSON on standard output")
	var words []string
	for rest := args; ; {
		if err := cli.Parse(fs, rest, stderr, queueUsage); err != nil {
			return "", o, err
		}
		if fs.NArg() == 0 {
			break
		}
		words, rest = append(words, fs.Arg(0)), fs.Args()[1:]
	}
	if len(words) == 0 {
		return "", o, cli.Usage("a command is missing: %s", queueUsage)
	}
	if o.Verb = words[0]; len(words) > 1 {
		o.Argument = words[1]
	}
	if len(words) > 2 {
		return "", o, cli.Usage("what is %q? %s", words[2], queueUsage)
	}
	return where, o, o.check()
}

// busyFor is how long a queue may be in the hands of somebody who is not a relay that
// listens: another of these commands, or a relay that is just starting.
const busyFor = 3 * time.Second

func administerAt(ctx context.Context, where string, o operation, stdout io.Writer) error {
	if where == inMemory {
		return cli.Usage("a queue in memory is seen by its relay alone (-http shows it)")
	}
	if err := checkWhere(where); err != nil {
		return err
	}
	if _, err := os.Stat(where); err != nil {
		return cli.Config("%w", err)
	}
	for deadline := time.Now().Add(busyFor); ; {
		q, _, err := openQueue(where, asCommand)
		if err == nil {
			agent := &delivery.Agent{Queue: q}
			return errors.Join(o.run(ctx, agent, stdout), queue.Close(q))
		}
		if !errors.Is(err, disk.ErrLocked) {
			return err
		}
		reached, remote := callRelay(ctx, filepath.Join(where, controlSocket), o, stdout)
		if reached || time.Now().After(deadline) {
			if !reached {
				return err
			}
			return remote
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
