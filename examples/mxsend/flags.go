package main

import (
	"flag"
	"fmt"
	"io"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue"
)

// options are the command line.
type options struct {
	cli.Transport
	json       bool
	explain    bool
	connect    bool
	from       string
	fromGiven  bool
	utf8       bool
	fromHeader bool // -t
	name       string
	notify     queue.Notify
	ret        queue.Return
	envelopeID string
	recipients []string
}

func parseFlags(args []string, stdout, stderr io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("mxsend", flag.ContinueOnError)
	o.Define(fs)
	fs.BoolVar(&o.json, "json", false, "print one JSON object per recipient on standard output")
	fs.BoolVar(&o.explain, "explain", false, "print the route, and connect to no host")
	fs.BoolVar(&o.connect, "explain-connect", false, "with -explain: connect to each host to see its TLS, and send no mail")
	fs.StringVar(&o.from, "f", "", "the reverse-path; `FROM` \"\" is the null reverse-path")
	fs.BoolVar(&o.utf8, "smtputf8", false, "the message is internationalized mail (RFC 6531): if its header has UTF-8, it goes only to hosts with SMTPUTF8; implied by an address beyond ASCII")
	version := fs.Bool("version", false, "print the version")
	o.defineSubmission(fs)
	if err := cli.Parse(fs, args, stderr, "mxsend [flags] -f FROM RCPT... < message\n       mxsend [flags] -t [-f FROM] [RCPT...] < message"); err != nil {
		return nil, err
	}
	if *version {
		fmt.Fprintln(stdout, cli.Version("mxsend"))
		return nil, &cli.Error{Code: cli.ExitOK}
	}
	fs.Visit(func(f *flag.Flag) { o.fromGiven = o.fromGiven || f.Name == "f" })
	o.from = cli.Mailbox(o.from)
	for _, r := range fs.Args() {
		o.recipients = append(o.recipients, cli.Mailbox(r))
	}
	return o, o.check()
}

// check detects combinations of flags that the flag package cannot.
func (o *options) check() error {
	switch {
	case o.fromHeader && o.explain:
		return cli.Usage("-t and -explain exclude each other")
	case !o.fromGiven && !o.explain && !o.fromHeader:
		return cli.Usage("-f FROM is missing (-f \"\" is the null reverse-path)")
	case o.connect && !o.explain:
		return cli.Usage("-explain-connect goes with -explain")
	case o.notify&queue.NotifyNever != 0 && o.notify != queue.NotifyNever:
		return cli.Usage("-notify: never goes with nothing else")
	case len(o.recipients) == 0 && !o.fromHeader:
		return errNoRecipients
	}
	return o.Check()
}

func (o *options) message() *queue.Message {
	m := &queue.Message{From: o.from, UTF8: o.utf8, Return: o.ret, EnvelopeID: o.envelopeID}
	for _, r := range o.recipients {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: r, Notify: o.notify})
	}
	return m
}
