package delivery_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// TestFieldsOfAnAgent has fields that make no sense, each of which Validate and Run name.
func TestFieldsOfAnAgent(t *testing.T) {
	for _, c := range []struct {
		field string // empty where all is well
		set   func(a *delivery.Agent)
	}{
		{"", func(*delivery.Agent) {}},
		{"Queue", func(a *delivery.Agent) { a.Queue = nil }},
		{"Reporter", func(a *delivery.Agent) { a.Reporter = "no host name" }},
		{"", func(a *delivery.Agent) { a.Reporter = "reporter.test" }},
		{"Postmaster", func(a *delivery.Agent) { a.Postmaster = "nobody" }},
		{"", func(a *delivery.Agent) { a.Postmaster = "postmaster@from.test" }},
		{"Lease", func(a *delivery.Agent) { a.Lease = time.Second }},
		{"Lease", func(a *delivery.Agent) { a.Lease = -time.Hour }},
		{"", func(a *delivery.Agent) { a.Lease = 30 * time.Second }},
		{"", func(a *delivery.Agent) { a.Lease = time.Hour }},
		{"Drain", func(a *delivery.Agent) { a.Drain = -1 }},
		{"", func(a *delivery.Agent) { a.Drain = time.Minute }},
		{"MaxHops", func(a *delivery.Agent) { a.MaxHops = -1 }},
		{"", func(a *delivery.Agent) { a.MaxHops = 30 }},
		{"Expire", func(a *delivery.Agent) { a.Settings.Expire = -1 }},
		{"SelfMark", func(a *delivery.Agent) { a.Sender.SelfMark = "a b" }},
		{"SelfMark", func(a *delivery.Agent) { a.Sender.SelfMark = "é" }},
		{"", func(a *delivery.Agent) { a.Sender.SelfMark = "m4rk" }},
		{"Hello", func(a *delivery.Agent) { a.Sender = &delivery.Sender{Hello: "no host name"} }},
	} {
		a := &delivery.Agent{Queue: &memory.Queue{}, Sender: &delivery.Sender{Hello: "from.test"}}
		c.set(a)
		err := a.Validate()
		if c.field == "" {
			if err != nil {
				t.Errorf("%v, want no error", err)
			}
			continue
		}
		if err == nil {
			t.Errorf("nothing is wrong with %s", c.field)
			continue
		}
		if !strings.Contains(err.Error(), c.field) {
			t.Errorf("%v, want %s named", err, c.field)
		}
		if runs := a.Run(t.Context()); runs == nil || !strings.Contains(runs.Error(), c.field) {
			t.Errorf("Run: %v, want %v", runs, err)
		}
	}
	a := &delivery.Agent{Reporter: "no host name", Postmaster: "nobody", Lease: 1, Drain: -1, MaxHops: -1, Sender: &delivery.Sender{Hello: "from.test"}}
	err := a.Validate()
	for _, field := range []string{"Queue", "Reporter", "Postmaster", "Lease", "Drain", "MaxHops"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v, want all named, %s too", err, field)
		}
	}
}
