package sched

import (
	"fmt"
	"testing"
	"time"
)

func TestSettingsChange(t *testing.T) {
	t.Run("L1 a site may have fewer attempts in flight, and more", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 4, Ahead: 400})
		d.known("s", time.Second)
		d.known("s", time.Second)
		d.mail("A", "d", 16, Route{Site: "s"})
		d.want("in flight", d.at("s"), 4)
		set := d.s.settings
		set.PerSite = 2
		d.s.Configure(d.now, set)
		d.taught(d.begun[0], Works)
		d.taught(d.begun[0], Works)
		d.want("in flight of two", d.at("s"), 2)
		set.PerSite = 6
		d.s.Configure(d.now, set)
		for range 4 {
			d.taught(d.begun[0], Works)
		}
		d.want("in flight when it has grown", d.at("s"), 6)
	})
	t.Run("L2 what was too much by the old settings is tried again", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 4, Ahead: 400})
		d.known("s", time.Second)
		d.known("s", time.Second)
		d.mail("A", "d", 16, Route{Site: "s"})
		d.now = d.now.Add(1)
		d.taught(d.begun[0], Busy)
		d.s.Configure(d.now, d.s.settings)
		d.taught(d.begun[0], Works)
		d.taught(d.begun[0], Works)
		d.want("in flight", d.at("s"), 4)
	})
	t.Run("L3 a rate that is lifted holds nothing back", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 4, Rate: 0.01, Ahead: 400})
		d.mail("A", "d", 2, Route{Site: "s"})
		d.want("in flight by a rate", d.at("s"), 1)
		set := d.s.settings
		set.Rate = 0
		d.s.Configure(d.now, set)
		d.decide()
		d.want("in flight without", d.at("s"), 2)
	})
}

func TestDrain(t *testing.T) {
	d := newDesk(t, Settings{Connections: 1, PerSite: 4, Ahead: 400})
	d.mails("A", "s", "s")
	ids := d.message(1, "a", "b")
	d.arrive("s", "j", ids[0]) // which waits for the other
	d.s.Troubled(d.now, NetworkFails)
	d.claimed("A", "not asked for", 1)
	d.s.Drain(d.now)
	d.decide()
	d.want("gone back: what waits, for its turn, for others, and for a route", len(d.back), 3)
	for _, b := range d.back {
		d.want("why", b.Why, Draining)
	}
	d.s.Drain(d.now)
	d.pass(time.Hour)
	d.want("gone back later", len(d.back), 3)
	d.want("in flight", len(d.begun), 1)
	d.want("asked for", len(d.out.Route), 0)
	d.want("it wakes", d.out.Wake.IsZero(), true)
	d.arrive("s", "j", ids[1])
	d.want("gone back when its route is known", len(d.back), 4)
	d.settle()
	d.s.MailCame(d.now)
	d.decide()
	d.claim = nil
	d.pass(time.Hour)
	d.want("a claim", d.claim == nil, true)
}

func TestWhatASiteHolds(t *testing.T) {
	for _, c := range []struct {
		took []time.Duration
		want int
	}{
		{[]time.Duration{time.Second}, minAhead},
		{[]time.Duration{100 * time.Millisecond}, minAhead},
		{[]time.Duration{10 * time.Millisecond}, 3 * 50},
		{[]time.Duration{10 * time.Millisecond, 10 * time.Millisecond}, 4 * 50},
		{[]time.Duration{10 * time.Millisecond, 90 * time.Millisecond}, 4 * 25},
		{[]time.Duration{90 * time.Millisecond, 10 * time.Millisecond}, 4 * 6},
		{[]time.Duration{0}, 3 * 1000},
	} {
		t.Run(fmt.Sprint("M1 after attempts that took ", c.took), func(t *testing.T) {
			d := newDesk(t, Settings{Connections: 9, PerSite: 9, Ahead: 20_000})
			for _, took := range c.took {
				d.known("s", took)
			}
			d.mail("A", "d", 4000, Route{Site: "s"})
			d.want("held", 4000-len(d.back), c.want+fewAhead)
		})
	}
	t.Run("M1 of which nothing is known", func(t *testing.T) {
		for rate, want := range map[float64]int{0: firstAhead, 100: 50, 1000: firstAhead, 1: minAhead} {
			d := newDesk(t, Settings{Connections: 9, PerSite: 9, Rate: rate, Ahead: 20_000})
			d.mail("A", "d", 4000, Route{Site: "s"})
			d.want(fmt.Sprint("held with a rate of ", rate), 4000-len(d.back), want+fewAhead)
		}
	})
}
