package delivery

import (
	"fmt"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

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
