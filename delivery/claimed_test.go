package delivery

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func TestLeases(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lease := func(message string, token uint64, in time.Duration) *queue.Lease {
		return &queue.Lease{Message: message, Destination: "d", Token: token, Until: now.Add(in)}
	}
	claimed := func(list ...*queue.Lease) (l *leases, parts []*part) {
		l = &leases{}
		for _, one := range list {
			parts = append(parts, &part{lease: held{Lease: *one}})
			l.add(parts[len(parts)-1:])
		}
		return l, parts
	}
	check := func(t *testing.T, l *leases, parts []*part, want ...bool) {
		t.Helper()
		for i, p := range parts {
			if got := l.lost(&p.lease); got != want[i] {
				t.Errorf("%s with the token %d is lost: %t, want %t", p.lease.Message, p.lease.Token, got, want[i])
			}
		}
	}
	t.Run("one is lost that has been claimed anew, or that the queue says is lost", func(t *testing.T) {
		l, parts := claimed(lease("a", 1, time.Minute), lease("b", 1, time.Minute), lease("b", 2, time.Minute), lease("c", 1, time.Minute))
		check(t, l, parts, false, true, false, false)
		l.remove(lease("b", 1, 0)) // somebody else's
		l.remove(lease("c", 1, 0))
		l.remove(lease("x", 1, 0))
		check(t, l, parts, false, true, false, true)
	})
	t.Run("one that is settled is held no longer, but a later claim's is", func(t *testing.T) {
		l, parts := claimed(lease("a", 1, time.Minute), lease("b", 1, time.Minute), lease("b", 2, time.Minute))
		l.release(&parts[0].lease)
		l.release(&parts[1].lease)
		check(t, l, parts, true, true, false)
		if list := l.ending(now.Add(time.Hour)); len(list) != 1 || list[0].Token != 2 {
			t.Errorf("held are %v, want that of the later claim", list)
		}
	})
	t.Run("QUE-9 one is valid that lasts for longer than a final dot may take to get there", func(t *testing.T) {
		l, parts := claimed(lease("a", 1, time.Minute), lease("b", 1, time.Minute), lease("b", 2, time.Minute))
		for at, want := range map[time.Duration]bool{0: true, time.Minute - leaseMargin - 1: true, time.Minute - leaseMargin: false, time.Minute: false} {
			if got := l.valid(&parts[0].lease, now.Add(at)); got != want {
				t.Errorf("after %v: %t, want %t", at, got, want)
			}
		}
		if l.valid(&parts[1].lease, now) {
			t.Error("one is valid that is not held")
		}
		l.extended(*lease("a", 1, time.Hour))
		if !l.valid(&parts[0].lease, now.Add(time.Minute)) {
			t.Error("one that was extended is not valid for as long")
		}
	})
	t.Run("those that end soon are extended", func(t *testing.T) {
		l, _ := claimed(lease("a", 1, time.Second), lease("b", 1, time.Minute), lease("c", 1, time.Hour))
		ending := func(in time.Duration) (list []string) {
			for _, one := range l.ending(now.Add(in)) {
				list = append(list, one.Message)
			}
			slices.Sort(list)
			return list
		}
		for in, want := range map[time.Duration][]string{time.Second: nil, time.Minute: {"a"}, time.Hour: {"a", "b"}} {
			if got := ending(in); !slices.Equal(got, want) {
				t.Errorf("they end in %v: %q, want %q", in, got, want)
			}
		}
		l.extended(*lease("a", 1, 2*time.Hour))
		l.extended(*lease("b", 2, 2*time.Hour)) // somebody else's
		l.extended(*lease("x", 1, 2*time.Hour))
		if got, want := ending(90*time.Minute), []string{"b", "c"}; !slices.Equal(got, want) {
			t.Errorf("they end when a was extended: %q, want %q", got, want)
		}
	})
}

func TestMessageOfParts(t *testing.T) {
	to := func(to ...string) *part {
		p := &part{delivery: &queue.Delivery{Message: queue.Message{ID: "m", From: "s@from.test"}}}
		for _, a := range to {
			p.delivery.Message.Recipients = append(p.delivery.Message.Recipients, queue.Recipient{Address: a})
		}
		return p
	}
	content := queue.Bytes("Subject: x\r\n\r\n")
	for _, c := range []struct {
		of   []*part
		want string
	}{
		{[]*part{to("a@a.test")}, "[a@a.test]"}, {[]*part{to("a@a.test", "b@a.test"), to("c@c.test")}, "[a@a.test b@a.test c@c.test]"},
	} {
		m := messageOf(c.of, content)
		var all []string
		for _, r := range m.Recipients {
			all = append(all, r.Address)
		}
		if fmt.Sprint(all) != c.want || m.From != "s@from.test" || m.Content == nil {
			t.Errorf("to %q from %q, its content %v, want to %s", all, m.From, m.Content, c.want)
		}
	}
	one := to("a@a.test")
	if m := messageOf([]*part{one}, content); &m.Recipients[0] != &one.delivery.Message.Recipients[0] {
		t.Error("the recipients of the only part are copied")
	}
}

// TestClaimedAgain is when a delivery may be claimed again that was settled.
func TestClaimedAgain(t *testing.T) {
	at, later := time.Unix(1, 0), time.Unix(2, 0)
	for _, c := range []struct {
		name       string
		recipients int
		results    []queue.Outcome
		postponed  bool
		want       time.Time
		ever       bool
	}{
		{name: "nothing was decided", recipients: 1, want: at, ever: true},
		{name: "one was delivered", recipients: 1, results: []queue.Outcome{queue.Delivered}, want: at},
		{name: "one has failed", recipients: 1, results: []queue.Outcome{queue.Failed}, want: at},
		{name: "one was deferred", recipients: 1, results: []queue.Outcome{queue.Deferred}, want: at, ever: true},
		{name: "of one it is not known", recipients: 1, results: []queue.Outcome{queue.Unknown}, want: at, ever: true},
		{name: "one of two was delivered", recipients: 2, results: []queue.Outcome{queue.Delivered}, want: at, ever: true},
		{name: "two were delivered", recipients: 2, results: []queue.Outcome{queue.Delivered, queue.Delivered}, want: at},
		{name: "the destination was postponed", recipients: 1, postponed: true, want: later, ever: true},
	} {
		o := outcome{part: &part{delivery: &queue.Delivery{States: make([]queue.State, c.recipients)}}}
		o.settlement.NotBefore = at
		for _, result := range c.results {
			o.settlement.Results = append(o.settlement.Results, queue.Result{Outcome: result})
		}
		if c.postponed {
			o.postpone = &queue.Postponement{Until: later}
		}
		if got, ever := o.again(); !got.Equal(c.want) || ever != c.ever {
			t.Errorf("where %s: at %v, ever: %t, want %v, %t", c.name, got, ever, c.want, c.ever)
		}
	}
}

func TestWork(t *testing.T) {
	for _, c := range []struct {
		of   work
		want bool
	}{
		{work{}, false}, {work{outcomes: make([]outcome, 1)}, true}, {work{change: make([]queue.Postponement, 1)}, true}, {work{flush: make([]queue.Selection, 1)}, true},
		{work{outcomes: make([]outcome, 1), change: make([]queue.Postponement, 1)}, true}, {work{change: make([]queue.Postponement, 1), flush: make([]queue.Selection, 1)}, true},
	} {
		if got := c.of.any(); got != c.want {
			t.Errorf("%d outcomes, %d changes, %d flushes: %t, want %t", len(c.of.outcomes), len(c.of.change), len(c.of.flush), got, c.want)
		}
		c.of.reuse()
		if c.of.any() {
			t.Error("there is something to do after it was done")
		}
	}
}
