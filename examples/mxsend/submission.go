package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"os/user"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/examples/internal/compose"
	"github.com/nexthop-mail/nexthop/queue"
)

var errNoRecipients = cli.Usage("no recipients")

// defineSubmission adds the flags that programs call sendmail with, and the parameters of
// DSN.
func (o *options) defineSubmission(fs *flag.FlagSet) {
	fs.BoolVar(&o.fromHeader, "t", false, "also take recipients from To, Cc and Bcc; remove Bcc, and add From, Date and Message-ID if they are missing")
	fs.Bool("i", false, "ignored: a line with a single dot never ends the message")
	fs.Bool("oi", false, "ignored, like -i")
	fs.StringVar(&o.name, "F", "", "full `NAME` for the From field, if -t adds it")
	fs.TextVar(&o.notify, "notify", queue.Notify(0), "send reports to the sender on these events: a `LIST` of success, failure and delay, separated by commas, or never")
	fs.Func("ret", "`HOW` much of the message a report should include: full or hdrs", func(v string) error {
		switch v {
		case "full":
			o.ret = queue.ReturnFull
		case "hdrs":
			o.ret = queue.ReturnHeaders
		default:
			return errors.New("want full or hdrs")
		}
		return nil
	})
	fs.StringVar(&o.envelopeID, "envid", "", "`ID` of the message in reports")
}

// complete takes the recipients from the header of a message, and adds missing fields.
// Without -f, the sender is the user at this machine. hello is the machine's name.
func (o *options) complete(in *bufio.Reader, hello string) (io.Reader, error) {
	header, err := compose.ReadHeader(in)
	if errors.Is(err, compose.ErrHeader) {
		return nil, &cli.Error{Code: cli.ExitData, Err: err}
	} else if err != nil {
		return nil, &cli.Error{Code: cli.ExitTempFail, Err: err}
	}
	to, err := header.Recipients()
	if err != nil {
		return nil, &cli.Error{Code: cli.ExitData, Err: err}
	}
	for _, a := range to {
		if !slices.Contains(o.recipients, a) {
			o.recipients = append(o.recipients, a)
		}
	}
	if len(o.recipients) == 0 {
		return nil, errNoRecipients
	}
	if hello == "" {
		if hello, err = os.Hostname(); err != nil {
			return nil, cli.Config("%w", err)
		}
	}
	author, name := o.from, o.name
	if author == "" { // the null reverse-path is not an address
		u, err := user.Current()
		if err != nil {
			return nil, cli.Config("who is calling: %w", err)
		}
		author = u.Username + "@" + hello
	}
	if !o.fromGiven {
		o.from = author
	}
	header.Complete(compose.Origin{Address: author, Name: name, Host: hello, Now: time.Now()})
	var head bytes.Buffer
	if _, err := header.WriteTo(&head); err != nil {
		return nil, err
	}
	body, w := io.Pipe()
	go func() { _ = w.CloseWithError(compose.CopyBody(w, in, false)) }()
	return io.MultiReader(&head, body), nil
}
