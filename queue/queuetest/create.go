package queuetest

import (
	"errors"
	"io"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func createChecks() []check {
	return []check{
		{ruleS8, "a bounce is a message like any other", 0, bounce},
		{ruleS8, "several messages of one settlement, in order", 0, severalBounces},
		{ruleS8, "a known key stops nothing", 0, keyedBounce},
		{ruleS8, "a full queue stops no bounce", needBound, bounceOverBound},
		{ruleS9, "a bounce may quote the message it is about", 0, quotingBounce},
		{ruleS7, "QUE-3 a settlement with a bounce survives a crash, both or neither", needCrash, bounceSurvives},
	}
}

func bounce(r *run) {
	id := r.put(r.message())
	m := full(r.now)
	m.From = ""
	s := all(r.one(), queue.Failed)
	s.Create = []*queue.Message{m}
	got := r.settle(s)
	if len(got.Created) != 1 || got.Created[0] <= id {
		r.Fatalf("Created is %q, want one id greater than %q", got.Created, id)
	}
	r.compareAll(m, got.Created[0])
	if text := r.content(got.Created[0]); text != textOf(m) {
		r.Errorf("the content of the bounce is %q, want %q", text, textOf(m))
	}
}

func severalBounces(r *run) {
	r.put(r.message("a@one.example", "b@one.example"))
	s := all(r.one(), queue.Failed)
	want := []string{"x@first.example", "x@second.example", "x@third.example"}
	for _, to := range want {
		s.Create = append(s.Create, r.message(to))
	}
	s.Create[1].NotBefore = r.now.Add(time.Hour)
	created := r.settle(s).Created
	if len(created) != 3 {
		r.Fatalf("Created is %q, want three ids", created)
	}
	if got := r.due(); len(got) != 2 {
		r.Errorf("Claim returned %s, want the two bounces without a not-before time", describe(got))
	} else {
		r.settle(all(got[0], queue.Delivered))
		r.settle(all(got[1], queue.Delivered))
	}
	r.wantGone(created[0])
	r.wantGone(created[2])
	r.advance(time.Hour)
	if d := r.one(); d.Lease.Message != created[1] || d.Message.Recipients[0].Address != want[1] {
		r.Errorf("Claim returned %s to %s, want %s to %s", d.Lease.Message, d.Message.Recipients[0].Address, created[1], want[1])
	}
}

func keyedBounce(r *run) {
	known := r.put(r.keyed("tenant", "bounce"))
	r.put(r.message("a@two.example"))
	d := r.first(queue.ClaimOptions{Destinations: []string{"two.example"}})
	s := all(d, queue.Failed)
	s.Create = []*queue.Message{r.keyed("tenant", "bounce"), r.keyed("tenant", "new"), r.keyed("tenant", "new")}
	got := r.settle(s).Created
	if len(got) != 3 || got[0] != known || got[1] == known || got[1] != got[2] {
		r.Fatalf("Created is %q, want %q and the same new one twice", got, known)
	}
	if ds := r.due(); len(ds) != 2 {
		r.Errorf("Claim returned %s, want the message that was there and one that is new", describe(ds))
	}
}

func bounceOverBound(r *run) {
	r.fill()
	s := deferred(r.first(queue.ClaimOptions{}), r.now)
	for range 3 {
		m := r.message("a@bounce.example")
		m.Content = kibibyte()
		s.Create = append(s.Create, m)
	}
	r.settle(s)
	bounces := r.claim(queue.ClaimOptions{Destinations: []string{"bounce.example"}}).Deliveries
	if len(bounces) != 3 {
		r.Errorf("Claim returned %d bounces, want 3", len(bounces))
	}
}

// quote is content that quotes a message in the queue it is put in.
func (r *run) quote(id string) *source {
	return &source{size: -1, open: func() (io.Reader, error) {
		c, err := r.q.Open(r.ctx, id)
		if err != nil {
			return nil, err
		}
		rd, err := c.Open()
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(rd)
		if err := errors.Join(err, rd.Close()); err != nil {
			return nil, err
		}
		return strings.NewReader("> " + string(text)), nil
	}}
}

func quotingBounce(r *run) {
	m := r.message()
	id := r.put(m)
	s := all(r.one(), queue.Failed)
	report := r.message()
	report.Content = r.quote(id)
	s.Create = []*queue.Message{report}
	type answer struct {
		settled []queue.Settled
		err     error
	}
	done := make(chan answer, 1)
	go func() {
		got, err := r.q.Settle(r.ctx, r.now, []queue.Settlement{s})
		done <- answer{got, err}
	}()
	timeout := time.NewTimer(patience / 6)
	defer timeout.Stop()
	select {
	case a := <-done:
		r.check("Settle", a.err)
		r.check("Settle", a.settled[0].Err)
		if got := r.content(a.settled[0].Created[0]); got != "> "+textOf(m) {
			r.Errorf("the content of the bounce is %q, want %q", got, "> "+textOf(m))
		}
	case <-timeout.C:
		r.Fatalf("Settle waits for itself while it reads the content of a bounce")
	}
}

func bounceSurvives(r *run) {
	bounces := make(map[string]string)
	for round := range 5 {
		id := r.put(r.message())
		m := r.message("a@bounce.example")
		s := all(r.one(), queue.Failed)
		s.Create = []*queue.Message{m}
		bounces[r.settle(s).Created[0]] = textOf(m)
		r.crash()
		r.advance(queue.DefaultLease)
		r.wantGone(id)
		got := r.due()
		for _, d := range got {
			if text := r.content(d.Lease.Message); text != bounces[d.Lease.Message] {
				r.Errorf("round %d: the content of %s is %q, want that of a bounce, %q",
					round, d.Lease.Message, text, bounces[d.Lease.Message])
			}
		}
		if len(got) != len(bounces) {
			r.Errorf("round %d: after a crash Claim returned %s, want the bounces of all rounds", round, describe(got))
		}
	}
}
