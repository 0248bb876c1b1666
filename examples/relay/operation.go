package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue"
)

// operation is one "relay queue" command. It runs on an agent that delivers, inside a
// relay, and just as well on one that does not.
type operation struct {
	Verb     string       `json:"verb"`
	Argument string       `json:"argument"`
	JSON     bool         `json:"json"`
	Match    *match       `json:"match,omitempty"`
	DryRun   bool         `json:"dry-run,omitempty"`
	For      cli.Duration `json:"for,omitempty"`
	Reason   string       `json:"reason,omitempty"`
}

// done describes what a verb has done to mail. These verbs take -match.
var done = map[string]string{
	"hold": "held", "release": "released", "drop": "dropped", "fail": "failed", "flush": "flushed",
}

// check detects invalid arguments.
func (o *operation) check() error {
	if err := o.checkFlags(); err != nil {
		return err
	}
	switch o.Verb {
	case "list", "suspensions", "sites":
		if o.Argument != "" {
			return cli.Usage("%s takes no argument", o.Verb)
		}
	case "flush":
		if o.Argument == "" {
			return nil
		}
		if _, err := queue.ParseDestination(o.Argument); err != nil {
			return cli.Usage("flush %q: %v", o.Argument, err)
		}
	case "show", "why", "hold", "release", "drop", "fail":
		if o.Argument == "" && o.Match == nil {
			return cli.Usage("%s needs the id of a message", o.Verb)
		}
	case "suspend", "resume":
		if len(o.subjects()) == 0 {
			return cli.Usage("%s needs a domain, a site or tenant=NAME", o.Verb)
		}
	default:
		return cli.Usage("what is %q? %s", o.Verb, queueUsage)
	}
	return nil
}

// checkFlags detects flags without a meaning for the verb.
func (o *operation) checkFlags() error {
	takes := func(verbs ...string) bool { return slices.Contains(verbs, o.Verb) }
	switch {
	case o.Match != nil && done[o.Verb] == "":
		return cli.Usage("%s takes no -match", o.Verb)
	case o.Match != nil && o.Argument != "":
		return cli.Usage("%s takes an argument or -match, not both", o.Verb)
	case o.DryRun && o.Match == nil:
		return cli.Usage("-dry-run goes with -match")
	case o.For != 0 && !takes("hold", "suspend"):
		return cli.Usage("%s takes no -for", o.Verb)
	case o.Reason != "" && !takes("hold", "suspend", "fail"):
		return cli.Usage("%s takes no -reason", o.Verb)
	case len(o.Reason) > queue.MaxReason:
		return cli.Usage("-reason has more than %d octets", queue.MaxReason)
	}
	return nil
}

// run does it and prints what there is to say.
func (o *operation) run(ctx context.Context, a *delivery.Agent, w io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	switch o.Verb {
	case "list":
		return o.list(ctx, a, w)
	case "show":
		return o.show(ctx, a, w)
	case "why":
		return o.why(ctx, a, w)
	case "sites":
		return o.sites(ctx, a, w)
	case "suspend":
		return o.suspend(ctx, a, w)
	case "resume":
		return o.resume(ctx, a, w)
	case "suspensions":
		return o.suspensions(ctx, a, w)
	case "flush":
		if o.Match == nil {
			return o.flush(ctx, a, w)
		}
	}
	if o.Match != nil {
		return o.byMatch(ctx, a, w)
	}
	return o.byID(ctx, a, w)
}

// byID does it to one message.
func (o *operation) byID(ctx context.Context, a *delivery.Agent, w io.Writer) (err error) {
	switch o.Verb {
	case "hold":
		err = a.HoldUntil(ctx, o.Argument, o.terms())
	case "release":
		err = a.Release(ctx, o.Argument)
	case "drop":
		err = a.Drop(ctx, o.Argument)
	case "fail":
		err = a.Fail(ctx, o.Argument, o.Reason)
	}
	if err != nil {
		return o.failed(err)
	}
	return o.printDone(w)
}

// byMatch does it to all that the conditions name, or counts that.
func (o *operation) byMatch(ctx context.Context, a *delivery.Agent, w io.Writer) error {
	what := o.Match.selection(time.Now())
	if o.DryRun {
		return o.count(ctx, a, what, w)
	}
	var (
		n   int
		err error
	)
	switch o.Verb {
	case "hold":
		n, err = a.HoldAll(ctx, what, o.terms())
	case "release":
		n, err = a.ReleaseAll(ctx, what)
	case "drop":
		n, err = a.DropAll(ctx, what)
	case "fail":
		n, err = a.FailAll(ctx, what, o.Reason)
	case "flush":
		n, err = a.Flush(ctx, what)
	}
	if err = errors.Join(err, o.printNumber(w, n)); err != nil {
		return o.failed(err)
	}
	return nil
}

// count counts what a selection names, as far as the verb means it.
func (o *operation) count(ctx context.Context, a *delivery.Agent, what queue.Selection, w io.Writer) error {
	messages, recipients := 0, 0
	err := queue.Select(ctx, a.Queue, what, func(e *queue.Entry, named []int) error {
		if o.Verb != "release" || e.Held {
			messages, recipients = messages+1, recipients+len(named)
		}
		return nil
	}, nil)
	if err != nil {
		return o.failed(err)
	}
	if o.JSON {
		return printJSON(w, map[string]any{"messages": messages, "recipients": recipients, "dry-run": true})
	}
	_, err = fmt.Fprintf(w, "%d messages with %d recipients match; nothing was changed\n", messages, recipients)
	return err
}

func (o *operation) terms() queue.Terms {
	t := queue.Terms{Reason: o.Reason}
	if o.For > 0 {
		t.Until = time.Now().Add(time.Duration(o.For))
	}
	return t
}

// failed makes an error of the queue one of the command line.
func (o *operation) failed(err error) error {
	code := cli.ExitTempFail
	if errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrDamaged) {
		code = cli.ExitData
	}
	return &cli.Error{Code: code, Err: fmt.Errorf("%s: %w", strings.TrimSpace(o.Verb+" "+o.Argument), err)}
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
	return o.printNumber(w, n)
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
