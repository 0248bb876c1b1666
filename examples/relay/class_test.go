package main

import (
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestBounceClasses: an event has the class by which -match finds the mail, and no status
// is of two.
func TestBounceClasses(t *testing.T) {
	for _, c := range []struct {
		kind     delivery.EventKind
		code     int
		enhanced string
		class    string
	}{
		{delivery.Deferred, 450, "4.2.2", "quota-issues"},
		{delivery.Failed, 550, "5.1.1", "bad-mailbox"},
		{delivery.Failed, 556, "5.1.10", "bad-domain"},
		{delivery.Deferred, 0, "4.4.1", "no-answer-from-host"},
		{delivery.Deferred, 0, "4.4.3", "routing-errors"},
		{delivery.Deferred, 451, "4.7.1", "policy-related"},
		{delivery.Failed, 550, "5.7.26", "sender-authentication"},
		{delivery.Deferred, 0, "4.7.5", "encryption-related"},
		{delivery.Failed, 554, "5.6.0", "content-related"},
		{delivery.Failed, 552, "", "quota-issues"},
		{delivery.Deferred, 421, "", "host-busy"},
		{delivery.Failed, 550, "", "other"},
		{delivery.Failed, 550, "5.0.0", "other"},
		{delivery.Expired, 451, "4.7.1", "message-expired"},
		{delivery.Delivered, 250, "2.1.5", ""},
		{delivery.Queued, 0, "", ""},
	} {
		e := &delivery.Event{Kind: c.kind, Code: c.code, Enhanced: c.enhanced}
		if got := classOf(e); got != c.class {
			t.Errorf("%v %d %s is %q, want %q", c.kind, c.code, c.enhanced, got, c.class)
		}
		if c.enhanced == "" || c.class == "" || c.class == "other" || c.kind == delivery.Expired {
			continue
		}
		m, err := parseMatch("class=" + c.class)
		if err != nil {
			t.Fatal(err)
		}
		entry := &queue.Entry{Waiting: []queue.Waiting{{State: queue.State{Reply: queue.Reply{Enhanced: c.enhanced}}}}}
		for _, other := range classNames() {
			o, err := parseMatch("class=" + other)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := len(o.selection(time.Time{}).Matches(entry)) > 0, *o == *m; got != want {
				t.Errorf("class=%s names %s: %t, want %t", other, c.enhanced, got, want)
			}
		}
	}
	for _, text := range []string{"class=good", "class=other", "class=1.2", "class=4,7"} {
		if _, err := parseMatch(text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
