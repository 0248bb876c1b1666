package main

import (
	"fmt"
	"io"
	"time"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue"
)

// entry is a message of the queue on the outside.
type entry struct {
	ID         string      `json:"id"`
	From       string      `json:"from"`
	Size       int64       `json:"size"`
	Queued     time.Time   `json:"queued"`
	Held       bool        `json:"held"`
	Recipients []recipient `json:"recipients"`
	Hold       *hold       `json:"hold,omitempty"` // where it has a reason or an end
}

// hold is why a message is on hold.
type hold struct {
	Since  *time.Time `json:"since"`
	Until  *time.Time `json:"until"`
	Reason string     `json:"reason"`
}

// recipient is one that waits. Status is queued before the first attempt, sending
// during one, else what the last came to: deferred or unknown.
type recipient struct {
	Address  string    `json:"address"`
	Status   string    `json:"status"`
	Attempts int       `json:"attempts"`
	Next     time.Time `json:"next"` // in the past: due
	Last     string    `json:"last"` // the reply at the last attempt
}

func entryOf(e *queue.Entry) entry {
	out := entry{
		ID: e.Message.ID, From: e.Message.From, Size: e.Size, Queued: e.Message.Arrived.UTC(), Held: e.Held,
		Recipients: []recipient{},
	}
	if h := e.Hold; e.Held && h != (queue.Terms{}) {
		out.Hold = &hold{instant(h.Since), instant(h.Until), h.Reason}
	}
	for i := range e.Waiting {
		w := &e.Waiting[i]
		r := recipient{
			Address: e.Message.Recipients[i].Address, Status: "queued", Attempts: w.Attempts,
			Next: w.Next.UTC(), Last: lastReply(w),
		}
		if r.Attempts > 0 {
			r.Status = w.Outcome.String()
		}
		if w.Leased {
			r.Status = "sending"
		}
		if r.Next.IsZero() { // at once
			r.Next = out.Queued
		}
		out.Recipients = append(out.Recipients, r)
	}
	return out
}

// lastReply is the reply as a line: host, code, status, text.
func lastReply(w *queue.Waiting) string {
	if w.Attempts == 0 {
		return ""
	}
	said := cli.Said(w.Reply.Code, w.Reply.Enhanced, w.Reply.Text)
	if w.Reply.Host != "" {
		return w.Reply.Host + ": " + said
	}
	return said
}

// print prints a message: an object, a line, or with all there is to say.
func (o *operation) print(w io.Writer, e *queue.Entry, whole bool) error {
	out := entryOf(e)
	if o.JSON {
		return printJSON(w, out)
	}
	held := ""
	if out.Held {
		held = " on hold" + details(nil, instant(e.Hold.Until), e.Hold.Reason, "", "")
	}
	_, err := fmt.Fprintf(w, "%s %s %d bytes <%s>%s\n", out.ID, stamp(out.Queued), out.Size, out.From, held)
	for _, r := range out.Recipients {
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "    %s %s, %d attempts, next %s\n", r.Address, r.Status, r.Attempts, stamp(r.Next))
		if err == nil && r.Last != "" && whole {
			_, err = fmt.Fprintf(w, "        %s\n", r.Last)
		}
	}
	return err
}

func stamp(t time.Time) string { return t.Local().Format(time.DateTime) }
