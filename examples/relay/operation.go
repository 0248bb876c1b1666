package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue"
)

// operation is one "relay queue" command. It runs on an agent that delivers, inside a
// relay, and just as well on one that does not.
type operation struct {
	Verb     string `json:"verb"`
	Argument string `json:"argument"`
	JSON     bool   `json:"json"`
}

// check finds words that make no sense.
func (o *operation) check() error {
	switch o.Verb {
	case "list":
		if o.Argument != "" {
			return cli.Usage("list takes no argument")
		}
	case "flush":
		if o.Argument == "" {
			return nil
		}
		if _, err := queue.ParseDestination(o.Argument); err != nil {
			return cli.Usage("flush %q: %v", o.Argument, err)
		}
	case "show", "hold", "release", "drop":
		if o.Argument == "" {
			return cli.Usage("%s needs the id of a message", o.Verb)
		}
	default:
		return cli.Usage("what is %q? %s", o.Verb, queueUsage)
	}
	return nil
}

// run does it and prints what there is to say.
func (o *operation) run(ctx context.Context, a *delivery.Agent, w io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	var err error
	switch o.Verb {
	case "list":
		return o.list(ctx, a, w)
	case "show":
		return o.show(ctx, a, w)
	case "flush":
		return o.flush(ctx, a, w)
	case "hold":
		err = a.Hold(ctx, o.Argument)
	case "release":
		err = a.Release(ctx, o.Argument)
	case "drop":
		err = a.Drop(ctx, o.Argument)
	}
	if err != nil {
		return o.failed(err)
	}
	done := map[string]string{"hold": "held", "release": "released", "drop": "dropped"}[o.Verb]
	if o.JSON {
		return printJSON(w, map[string]any{"id": o.Argument, done: true})
	}
	_, err = fmt.Fprintf(w, "%s %s\n", o.Argument, done)
	return err
}

// failed makes an error of the queue one of the command line.
func (o *operation) failed(err error) error {
	code := cli.ExitTempFail
	if errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrDamaged) {
		code = cli.ExitData
	}
	return &cli.Error{Code: code, Err: fmt.Errorf("%s %s: %w", o.Verb, o.Argument, err)}
}

func (o *operation) flush(ctx context.Context, a *delivery.Agent, w io.Writer) error {
	var what queue.Selection
	if o.Argument != "" {
		destination, err := queue.ParseDestination(o.Argument)
		if err != nil {
			return cli.Usage("flush: %v", err)
		}
		what.Destination = destination
	}
	n, err := a.Flush(ctx, what)
	if err != nil {
		return o.failed(err)
	}
	if o.JSON {
		return printJSON(w, map[string]int{"flushed": n})
	}
	_, err = fmt.Fprintf(w, "%d due now\n", n)
	return err
}

func (o *operation) list(ctx context.Context, a *delivery.Agent, w io.Writer) error {
	for after := ""; ; {
		page, err := queue.List(ctx, a.Queue, queue.ListOptions{After: after, Max: 500})
		if err != nil {
			return o.failed(err)
		}
		for i := range page.Entries {
			if err := o.print(w, &page.Entries[i], false); err != nil {
				return err
			}
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}

func (o *operation) show(ctx context.Context, a *delivery.Agent, w io.Writer) error {
	e, err := queue.Show(ctx, a.Queue, o.Argument)
	if err != nil {
		return o.failed(err)
	}
	return o.print(w, &e, true)
}
