// Command newsletter sends a message to each of many subscribers.
//
//	newsletter -from news@example.org -issue 2026-11 -spool DIR SUBSCRIBERS MESSAGE
//
// SUBSCRIBERS is a file with an address on each line. MESSAGE is a text/template of a
// whole message, header and body, in which {{.To}} is the subscriber's address. Date
// and Message-ID are added if the header lacks them.
//
// The program ends when the outcome for every subscriber is known. It can be
// interrupted and started again with the same arguments. No subscriber gets an issue
// twice, because the spool remembers which messages were submitted, and a copy that may
// have arrived is not sent again.
//
// While it runs, it reads commands from standard input: "pause DOMAIN" and "resume
// DOMAIN" for the mail to one domain, "pause" and "resume" for all mail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

func main() {
	cli.IgnoreBrokenPipes()
	ctx, stop := cli.UntilStopped()
	defer stop()
	out := cli.NewOutput(os.Stderr) // mail does not wait for who reads it
	err := start(ctx, os.Args[1:], out)
	cli.Flush(out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "newsletter:", err)
		stop()
		os.Exit(1)
	}
}

// start reads the arguments and runs the job they describe.
func start(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("newsletter", flag.ExitOnError)
	j := &job{in: os.Stdin, out: out, providers: make(map[string]delivery.Group)}
	flags.StringVar(&j.from, "from", "", "the sender's `ADDRESS`")
	flags.StringVar(&j.issue, "issue", "", "the `NAME` of the issue; each subscriber gets one message per issue")
	flags.StringVar(&j.spool, "spool", "newsletter.spool", "keep mail that is not delivered yet in this `DIR`")
	flags.StringVar(&j.suppressed, "suppressed", "", "`FILE` of addresses to skip; addresses that turn out not to exist are added")
	flags.DurationVar(&j.expire, "expire", 48*time.Hour, "how long to try each message")
	flags.Func("provider", "`HOST=CONNECTIONS,RATE`: limits for all domains with MX hosts below HOST; may be repeated", j.provider)
	hello := flags.String("helo", "", "the `NAME` of this host in EHLO (default: its address)")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: newsletter [flags] SUBSCRIBERS MESSAGE")
		flags.PrintDefaults()
	}
	_ = flags.Parse(args) // it exits if there is an error
	if flags.NArg() != 2 || j.from == "" || j.issue == "" {
		flags.Usage()
		return errors.New("want -from, -issue and two files")
	}
	j.subscribers, j.template = flags.Arg(0), flags.Arg(1)
	j.sender = &delivery.Sender{Hello: *hello}
	return j.run(ctx)
}

// provider reads a value of -provider.
func (j *job) provider(value string) error {
	host, limits, found := strings.Cut(value, "=")
	connections, rate, both := strings.Cut(limits, ",")
	c, err := strconv.Atoi(connections)
	r, err2 := strconv.ParseFloat(rate, 64)
	if !found || !both || err != nil || err2 != nil {
		return errors.New("want HOST=CONNECTIONS,RATE, such as mx.example.net=5,20")
	}
	j.providers[host] = delivery.Group{Connections: c, Rate: r}
	return nil
}
