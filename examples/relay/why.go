package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

// waits is why a recipient waits, on the outside.
type waits struct {
	ID          string     `json:"id"`
	Recipient   string     `json:"recipient"`
	Destination string     `json:"destination"`
	Site        string     `json:"site"`
	State       string     `json:"state"`
	Reason      string     `json:"reason"`
	Since       *time.Time `json:"since"` // null: not known
	Until       *time.Time `json:"until"` // null: it does not end by itself
	Host        string     `json:"host"`
	Last        string     `json:"last"`
	Note        string     `json:"note,omitempty"` // of the hold or the suspension
}

// instant is a time, or null.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Round(0)
	return &t
}

// why says why the recipients of a message wait, or those at a domain.
func (o *operation) why(ctx context.Context, a *delivery.Agent, w io.Writer) error {
	return o.whyEach(ctx, a, func(y waits) error { return y.print(w, o.JSON) })
}

// isMessage reports whether the argument is the id of a message that waits.
func (o *operation) isMessage(ctx context.Context, a *delivery.Agent) bool {
	_, err := queue.Show(ctx, a.Queue, o.Argument)
	return !errors.Is(err, queue.ErrNotFound)
}

// whyEach visits the recipients of a message, or those at a domain.
func (o *operation) whyEach(ctx context.Context, a *delivery.Agent, visit func(waits) error) error {
	what := queue.Selection{Message: o.Argument}
	if !o.isMessage(ctx, a) {
		if destination, err := queue.ParseDestination(o.Argument); err == nil && strings.ContainsAny(destination, ".[") {
			what = queue.Selection{Destination: destination}
		}
	}
	err := a.WhyAll(ctx, what, func(y delivery.Wait) error {
		return visit(waits{
			ID: y.ID, Recipient: y.Recipient, Destination: y.Destination, Site: y.Site,
			State: y.State.String(), Reason: y.Reason.String(),
			Since: instant(y.Since), Until: instant(y.Until), Host: y.Host, Last: y.Last, Note: y.Note,
		})
	})
	if err != nil {
		return o.failed(err)
	}
	return nil
}

func (y *waits) print(w io.Writer, json bool) error {
	if json {
		return printJSON(w, y)
	}
	_, err := fmt.Fprintf(w, "%s %s %s, %s%s\n", y.ID, y.Recipient, y.State, y.Reason, details(y.Since, y.Until, y.Note, y.Host, y.Last))
	return err
}

// details is the rest of a line for a person.
func details(since, until *time.Time, note, host, last string) string {
	var b strings.Builder
	if since != nil {
		b.WriteString(" since " + stamp(*since))
	}
	if until != nil {
		b.WriteString(" until " + stamp(*until))
	}
	if note != "" {
		b.WriteString(" (" + note + ")")
	}
	if host != "" || last != "" {
		b.WriteString(": " + strings.TrimSpace(host+" "+last))
	}
	return b.String()
}

// site is the state of a site in the output.
type site struct {
	Site         string     `json:"site"` // empty: not known
	Destinations []string   `json:"destinations"`
	Waiting      int        `json:"waiting"`
	Connections  int        `json:"connections"`
	Window       int        `json:"window"`
	State        string     `json:"state"` // open, or what keeps its mail back
	Until        *time.Time `json:"until"`
	Reason       string     `json:"reason"` // of the suspension
	Host         string     `json:"host"`
	Last         string     `json:"last"`
}

// sites prints a line for each site that has mail.
func (o *operation) sites(ctx context.Context, a *delivery.Agent, w io.Writer) error {
	list, err := a.Sites(ctx)
	if err != nil {
		return o.failed(err)
	}
	for i := range list {
		s := &list[i]
		state := s.State.String()
		if s.State == delivery.WaitNew {
			state = "open"
		}
		if s.Destinations == nil {
			s.Destinations = []string{}
		}
		err := site{
			Site: s.Site, Destinations: s.Destinations, Waiting: s.Waiting, Connections: s.Connections, Window: s.Window,
			State: state, Until: instant(s.Until), Reason: s.Note, Host: s.Host, Last: s.Last,
		}.print(w, o.JSON)
		if err != nil {
			return err
		}
	}
	return nil
}

func (s site) print(w io.Writer, json bool) error {
	if json {
		return printJSON(w, s)
	}
	name := s.Site
	if name == "" {
		name = "?"
	}
	_, err := fmt.Fprintf(w, "%s %s, %d waiting, %d connections of %d%s\n    %s\n", name, s.State, s.Waiting, s.Connections, s.Window,
		details(nil, s.Until, s.Reason, s.Host, s.Last), strings.Join(s.Destinations, " "))
	return err
}

// suspended is a suspension in the output.
type suspended struct {
	Kind   string     `json:"kind"`
	Name   string     `json:"name"`
	Since  *time.Time `json:"since"`
	Until  *time.Time `json:"until"`
	Reason string     `json:"reason"`
}

// subjects is what the argument names: a domain may be one that mail is for, and the
// name of a host.
func (o *operation) subjects() (list []queue.Subject) {
	if tenant, ok := strings.CutPrefix(o.Argument, "tenant="); ok {
		return []queue.Subject{{Kind: queue.OfTenant, Name: tenant}}
	}
	if o.Argument == "" {
		return nil
	}
	if destination, err := queue.ParseDestination(o.Argument); err == nil {
		return []queue.Subject{{Kind: queue.OfDestination, Name: destination}, {Kind: queue.OfSite, Name: destination}}
	}
	return []queue.Subject{{Kind: queue.OfSite, Name: o.Argument}}
}

func (o *operation) suspend(ctx context.Context, a *delivery.Agent, w io.Writer) error {
	var list []queue.Suspension
	on := o.terms()
	for _, s := range o.subjects() {
		list = append(list, queue.Suspension{Subject: s, Terms: on})
	}
	if err := a.Suspend(ctx, list...); err != nil {
		return o.failed(err)
	}
	if o.JSON {
		return printJSON(w, map[string]any{"name": o.Argument, "suspended": true, "until": instant(on.Until)})
	}
	_, err := fmt.Fprintf(w, "%s suspended%s\n", o.Argument, details(nil, instant(on.Until), "", "", ""))
	return err
}

func (o *operation) resume(ctx context.Context, a *delivery.Agent, w io.Writer) error {
	n, err := a.Resume(ctx, o.subjects()...)
	if err == nil && n == 0 {
		err = fmt.Errorf("nothing of that name is suspended: %w", queue.ErrNotFound)
	}
	if err != nil {
		return o.failed(err)
	}
	if o.JSON {
		return printJSON(w, map[string]any{"name": o.Argument, "resumed": true})
	}
	_, err = fmt.Fprintf(w, "%s resumed\n", o.Argument)
	return err
}

func (o *operation) suspensions(ctx context.Context, a *delivery.Agent, w io.Writer) error {
	list, err := queue.Suspensions(ctx, a.Queue, time.Now())
	if err != nil {
		return o.failed(err)
	}
	for i := range list {
		s := &list[i]
		if o.JSON {
			err = printJSON(w, suspended{s.Kind.String(), s.Name, instant(s.Since), instant(s.Until), s.Reason})
		} else {
			_, err = fmt.Fprintf(w, "%s %s%s\n", s.Kind, s.Name, details(instant(s.Since), instant(s.Until), s.Reason, "", ""))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
