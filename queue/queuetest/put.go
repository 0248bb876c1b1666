package queuetest

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func putChecks() []check {
	return []check{
		{ruleP1, "a message goes to all its destinations", 0, putAll},
		{ruleP1, "a message with one bad recipient among good ones is not there", 0, putNone},
		{ruleP3, "QUE-1 every field comes back", 0, everyField},
		{ruleP3, "Arrived is the time of Put where it was zero", 0, arrival},
		{ruleP3, "the message stays its owner's", 0, ownership},
		{ruleP4, "what Validate refuses Put refuses", 0, refusals},
		{ruleP7, "ids are short, plain and ascending", 0, idsAscend},
		{ruleP7, "an id is not given twice", needDrop, idsNotReused},
		{ruleP7, "an id is not given twice across a restart", needReopen, idsAfterReopen},
	}
}

func putAll(r *run) {
	id := r.put(r.message("a@one.example", "b@two.example", "c@one.example", "d@three.example"))
	var got []string
	for _, d := range r.due() {
		if d.Lease.Message != id {
			r.Errorf("a delivery is of message %q, Put returned %q", d.Lease.Message, id)
		}
		for _, rcpt := range d.Message.Recipients {
			got = append(got, rcpt.Address)
		}
	}
	slices.Sort(got)
	want := []string{"a@one.example", "b@two.example", "c@one.example", "d@three.example"}
	if !slices.Equal(got, want) {
		r.Errorf("the deliveries have the recipients %q, want %q", got, want)
	}
}

func putNone(r *run) {
	m := r.message("a@one.example", "b@two.example", "c@three.example\r\n")
	if id, err := r.q.Put(r.ctx, r.now, m); err == nil || id != "" {
		r.Errorf("Put = %q, %v, want an error", id, err)
	}
	r.none("after a Put that failed")
}

func everyField(r *run) {
	m := full(r.now)
	id := r.put(m)
	r.compareAll(m, id)
	if got := r.content(id); got != textOf(m) {
		r.Errorf("the content is %q, want %q", got, textOf(m))
	}
}

// compareAll claims what is due and compares it with the message it came from.
func (r *run) compareAll(m *queue.Message, id string) {
	r.Helper()
	parts, err := queue.Split(m)
	r.check("Split", err)
	got := r.due()
	if len(got) != len(parts) {
		r.Fatalf("Claim returned %s, want %d", describe(got), len(parts))
	}
	for _, part := range parts {
		at := slices.IndexFunc(got, func(d queue.Delivery) bool { return d.Lease.Destination == part.Destination })
		if at < 0 {
			r.Errorf("no delivery to %s", part.Destination)
			continue
		}
		d := got[at]
		var recipients []queue.Recipient
		for _, i := range part.Recipients {
			recipients = append(recipients, m.Recipients[i])
		}
		if problem := differs(d.Message, *m, recipients); problem != "" {
			r.Errorf("delivery to %s: Message.%s", part.Destination, problem)
		}
		if d.Message.ID != id || d.Lease.Message != id {
			r.Errorf("delivery to %s: id %q and %q, want %q", part.Destination, d.Message.ID, d.Lease.Message, id)
		}
		if d.Message.Content != nil {
			r.Errorf("delivery to %s: Message.Content is not nil", part.Destination)
		}
		if d.Size != m.Content.Size() {
			r.Errorf("delivery to %s: Size is %d, want %d", part.Destination, d.Size, m.Content.Size())
		}
	}
}

func arrival(r *run) {
	r.put(r.message())
	if got := r.one().Message.Arrived; inMillis(got) != inMillis(r.now) {
		r.Errorf("Arrived is %v, want the time of Put, %v", got, r.now)
	}
}

func ownership(r *run) {
	m := full(r.now)
	content := []byte("before")
	m.Content = queue.Bytes(content)
	m.Guarantee = queue.AtLeastOnce
	was := *full(r.now)
	was.Guarantee = queue.AtLeastOnce
	id := r.put(m)
	if problem := differs(*m, was, was.Recipients); problem != "" || m.ID != was.ID || string(content) != "before" {
		r.Errorf("Put changed the message it was given: %s", problem)
	}
	m.Recipients[0].Address, m.Metadata["name"] = "else@example.com", "else"
	copy(content, "after!")
	was.Content = queue.String("before")
	got := r.due()
	for _, d := range got {
		d.Message.Recipients[0].Address, d.Message.Metadata["name"] = "else@example.com", "else"
		d.States[0].Attempts = 7
		r.settle(queue.Settlement{Lease: d.Lease})
	}
	r.compareAll(&was, id)
	if text := r.content(id); text != "before" {
		r.Errorf("the content is %q after its owner changed the bytes, want %q", text, "before")
	}
}

func refusals(r *run) {
	long := r.message("a@" + strings.Repeat("label.", 50) + "example")
	injected := r.message("a@example.com>\r\nRCPT TO:<b@example.com")
	sender := r.message()
	sender.From = "a@example.com\r\nDATA"
	priority := r.message()
	priority.Priority = 10
	empty := r.message()
	empty.Content = nil
	for _, c := range []struct {
		name string
		m    *queue.Message
	}{
		{"line ends in a recipient", injected},
		{"line ends in the sender", sender},
		{"a domain of 300 octets", long},
		{"no recipients", &queue.Message{Content: queue.String("text")}},
		{"no content", empty},
		{"a priority that is none", priority},
	} {
		var want, got *queue.MessageError
		if !errors.As(c.m.Validate(), &want) {
			r.Fatalf("%s: Validate takes it", c.name)
		}
		_, err := r.q.Put(r.ctx, r.now, c.m)
		if !errors.As(err, &got) || got.Field != want.Field || got.Index != want.Index || got.Enhanced != want.Enhanced {
			r.Errorf("%s: Put = %v, want %v", c.name, err, want)
		}
	}
	r.none("after messages that were refused")
}

func idsAscend(r *run) {
	last := ""
	for i := range 40 {
		if i == 20 {
			r.now = r.now.Add(-10 * 24 * time.Hour)
		}
		id := r.put(r.message())
		if id == "" || len(id) > 40 || strings.Trim(id, alphanumeric) != "" {
			r.Fatalf("Put returned the id %q, want 1 to 40 digits and letters", id)
		}
		if id <= last {
			r.Errorf("Put returned the id %q after %q, want a greater one", id, last)
		}
		last = id
	}
}

const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func idsNotReused(r *run) {
	last := r.put(r.message())
	for range 3 {
		r.check("Drop", queue.Drop(r.ctx, r.q, last))
		id := r.put(r.message())
		if id <= last {
			r.Errorf("Put returned the id %q, %q was given before", id, last)
		}
		last = id
	}
}

func idsAfterReopen(r *run) {
	r.put(r.message())
	last := r.put(r.message())
	for _, d := range r.due() {
		r.settle(all(d, queue.Delivered))
	}
	r.reopen()
	if id := r.put(r.message()); id <= last {
		r.Errorf("Put returned the id %q, %q was given before", id, last)
	}
	if r.in.Crash == nil {
		return
	}
	last = r.put(r.message())
	r.crash()
	if id := r.put(r.message()); id <= last {
		r.Errorf("after a crash Put returned the id %q, %q was given before", id, last)
	}
}
