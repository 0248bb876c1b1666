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

const queueUsage = `relay queue [-queue WHERE] [-json] COMMAND
  list, show ID              show messages in the queue
  why ID|DOMAIN              show why each recipient waits
  flush [DOMAIN]             try to deliver now
  hold ID [-for D] [-reason TEXT], release ID
  drop ID                    remove the message, without a report to the sender
  fail ID [-reason TEXT]     end the message, with a report to the sender
  suspend DOMAIN|SITE|tenant=NAME [-for D] [-reason TEXT], resume DOMAIN|SITE|tenant=NAME, suspensions
hold, release, flush, drop and fail accept -match instead of an ID, and -dry-run to only count:
  -match 'domain=example.com,from=@example.org,older=2d,tenant=NAME,class=CLASS'
  CLASS is an enhanced status code or its beginning, such as 4.7, or a bounce class of events, such as quota-issues`

const sitesUsage = "relay sites [-queue WHERE] [-json]"

// administer is the command "relay queue". It works on the queue itself if that is not
// open, and otherwise through the relay that has it open.
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

// sites is the command "relay sites".
func sites(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var (
		where string
		o     = operation{Verb: "sites"}
		fs    = flag.NewFlagSet("relay sites", flag.ContinueOnError)
	)
	fs.StringVar(&where, "queue", defaultQueue, "`WHERE` mail waits: a directory, or a database as a postgres:// URL or @FILE with one in it")
	fs.BoolVar(&o.JSON, "json", false, "print JSON on standard output")
	_, err := parseEnvironment(fs, args, stdout, stderr, sitesUsage)
	if err == nil && fs.NArg() > 0 {
		err = cli.Usage("what is %q? %s", fs.Arg(0), sitesUsage)
	}
	if err == nil {
		err = administerAt(ctx, where, o, stdout)
	}
	if err != nil {
		return cli.Complain(stderr, "relay sites", err)
	}
	return cli.ExitOK
}

// parseQueueFlags lets flags stand before and after the words.
func parseQueueFlags(args []string, stderr io.Writer) (where string, o operation, err error) {
	fs := flag.NewFlagSet("relay queue", flag.ContinueOnError)
	fs.StringVar(&where, "queue", defaultQueue, "`WHERE` mail waits: a directory, or a database as a postgres:// URL or @FILE with one in it")
	fs.BoolVar(&o.JSON, "json", false, "print JSON on standard output")
	fs.Var(&o.For, "for", "how long: `D` such as 30m, 12h or 2d (for hold and suspend; default: until it is ended)")
	fs.StringVar(&o.Reason, "reason", "", "`TEXT` of the reason (for hold, suspend and fail)")
	fs.BoolVar(&o.DryRun, "dry-run", false, "count the messages that match, and change nothing")
	fs.Func("match", "the messages that meet these `CONDITIONS`, separated by commas, instead of an ID", func(v string) error {
		if o.Match != nil {
			return errors.New("it was given before")
		}
		m, err := parseMatch(v)
		o.Match = m
		return err
	})
	var words []string
	for rest := args; ; {
		if _, err := parseEnvironment(fs, rest, io.Discard, stderr, queueUsage); err != nil {
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

// busyFor is how long a queue may be open in a program that is not a listening relay:
// another of these commands, or a relay that is just starting.
const busyFor = 3 * time.Second

func administerAt(ctx context.Context, where string, o operation, stdout io.Writer) error {
	if where == inMemory {
		return cli.Usage("a queue in memory is seen by its relay alone (-http shows it)")
	}
	kind, err := checkWhere(where)
	if err != nil {
		return err
	}
	if kind == inDatabase {
		db, err := openDatabase(ctx, where, asCommand)
		if err != nil {
			return err
		}
		return errors.Join(o.runShared(ctx, db, stdout), db.Close())
	}
	if _, err := os.Stat(where); err != nil {
		return cli.Config("%w", err)
	}
	for deadline := time.Now().Add(busyFor); ; {
		q, _, err := openQueue(ctx, where, asCommand)
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
