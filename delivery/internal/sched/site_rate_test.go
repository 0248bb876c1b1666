package sched

import (
	"fmt"
	"testing"
	"time"
)

// offer has attempts at site s end, one every tenth of a second and one letter each: "+"
// is taken, "d" deferred for what may be the rate, "l" deferred for another reason, "h"
// taken by half, "b" met by a host that takes no mail just now.
func (d *desk) offer(what string) {
	d.t.Helper()
	for _, c := range what {
		d.pass(100 * time.Millisecond)
		if d.at("s") == 0 {
			d.t.Fatalf("nothing is in flight before %c of %q", c, what)
		}
		l := map[rune]Lesson{'+': {Kind: Works}, 'd': {Kind: Later, Deferred: 1}, 'l': {Kind: Later}, 'h': {Kind: Works, Deferred: 0.5}, 'b': {Kind: Busy}}[c]
		l.Began = d.now
		d.learn(d.begun[0], l)
	}
}

// quarter is a round of which a quarter is deferred, after the first that is.
const quarter = "d" + "++++++++++++" + "dddd"

// rated has a site that has got a rate while it held so many deliveries.
func rated(t *testing.T, held int) *desk {
	d := newDesk(t, Settings{Connections: 40, PerSite: 30, Ahead: 1000})
	d.mail("A", "d", len(quarter)-1+held, Route{Site: "s"})
	d.offer(quarter)
	return d
}

func TestRateOfSite(t *testing.T) {
	rateOf := func(d *desk) string { return rate(d.s.sites["s"].grant.rate) }
	for what, taken := range map[string]float64{
		quarter:                              12 / 1.6,
		"d" + many(8, "+") + many(8, "h"):    12 / 1.6,
		"d" + many(12, "+") + "lll" + "dddd": 12 / 1.9, // for what is deferred for another reason is not counted
		"d" + many(12, "+") + "dll" + "ddd":  12 / 1.8,
		"l" + many(12, "+") + "dddd":         0,
	} {
		t.Run(fmt.Sprintf("L3 after %q", what), func(t *testing.T) {
			d := newDesk(t, Settings{Connections: 40, PerSite: 30, Ahead: 1000})
			d.mail("A", "d", 40, Route{Site: "s"})
			d.offer(what)
			d.want("the rate", rateOf(d), rate(0.95*taken))
		})
	}
	t.Run("L3 none where no more mail waits", func(t *testing.T) {
		for waits, want := range map[int]string{0: "0", 1: rate(0.95 * 12 / 1.6)} {
			d := newDesk(t, Settings{Connections: 40, PerSite: 30, Ahead: 1000})
			for i := range len(quarter) {
				d.mails("A", "s")
				if i == len(quarter)-1 {
					d.mail("A", "d.s", d.s.sites["s"].limit()-1+waits, Route{Site: "s"})
				}
				d.offer(quarter[i : i+1])
			}
			d.want(fmt.Sprint("the rate while ", waits, " wait"), rateOf(d), want)
		}
	})
	t.Run("L3 attempts are as far apart as the rate says, and what would wait for long goes back", func(t *testing.T) {
		for held, back := range map[int]int{minAhead + fewAhead: 0, minAhead + fewAhead + 1: 1} {
			d := rated(t, held)
			if gone := len(d.back) > 0; gone != (back > 0) {
				t.Errorf("of %d that are held %d go back", held, len(d.back))
			}
			for _, b := range d.back {
				d.want("why", b.Why, Parked)
			}
		}
		d := rated(t, minAhead+fewAhead)
		for len(d.begun) > 0 {
			d.end(d.begun[0], Nothing, 0)
		}
		began := d.now
		var at []time.Duration
		for len(at) < 4 && !d.out.Wake.IsZero() {
			d.now = d.out.Wake
			if d.decide(); len(d.begun) > 0 {
				at = append(at, d.now.Sub(began))
				d.end(d.begun[0], Nothing, 0)
			}
		}
		first := at[0]
		for i := range at {
			at[i] = (at[i] - first).Round(10 * time.Microsecond)
		}
		const wait = 140350 * time.Microsecond // for 7.125 a second
		d.want("when the next begin, from the first", at, []time.Duration{0, wait, 2 * wait, 3 * wait})
	})
	t.Run("L3 a pace holds beside the rate", func(t *testing.T) {
		d := rated(t, 16)
		for range manyDeferrals {
			d.learn(d.begun[0], Lesson{Kind: Busy, Began: d.now})
		}
		for len(d.begun) > 0 {
			d.end(d.begun[0], Nothing, 0)
		}
		d.pass(time.Minute)
		d.mail("A", "d", 2, Route{Site: "s"})
		d.want("in flight", d.at("s"), 1)
		d.end(d.begun[0], Nothing, 0)
		began := d.now
		d.want("in flight before the pace", d.at("s"), 0)
		d.want("the next", d.out.Wake.Sub(began), 16*firstPace)
	})
	for name, forget := range map[string]func(d *desk){
		"somebody flushes":    func(d *desk) { d.s.FlushAll(d.now) },
		"the settings change": func(d *desk) { d.s.Configure(d.now, d.s.settings) },
	} {
		t.Run("L3 it is forgotten when "+name, func(t *testing.T) {
			d := rated(t, 16)
			forget(d)
			d.decide()
			d.want("the rate", rateOf(d), "0")
			d.want("in flight", d.at("s"), d.s.sites["s"].limit())
		})
	}
	for _, c := range []struct {
		name            string
		settings, found float64
		want            float64
	}{
		{"none", 0, 0, 0}, {"by the settings", 5, 0, 5}, {"that is found", 0, 5, 5}, {"found, and less than the settings say", 9, 5, 5}, {"by the settings, and less than is found", 5, 9, 5},
	} {
		t.Run("L3 a rate "+c.name, func(t *testing.T) {
			d := newDesk(t, Settings{Connections: 40, PerSite: 30, Ahead: 1000, Rate: c.settings})
			s := d.s.site(d.now, "s")
			s.grant.rate = c.found
			d.want("a second", s.speed(), c.want)
		})
	}
}

// TestBusy has hosts that take no mail just now, which is a deferral for the rate where
// fewer at a time it cannot mean.
func TestBusy(t *testing.T) {
	for _, c := range []struct {
		name           string
		window, flight int
		rate           float64
		again, want    bool
	}{
		{name: "while others are in flight", window: 3, flight: 2},
		{name: "to one alone", window: 3, flight: 1, want: true},
		{name: "to one alone that is offered again", window: 3, flight: 1, again: true},
		{name: "while one may be in flight", window: 1, flight: 2, want: true},
		{name: "while there is a rate", window: 3, flight: 3, rate: 5, want: true},
		{name: "while there is a rate, to one that is offered again", window: 3, flight: 3, rate: 5, again: true},
	} {
		t.Run("L3 "+c.name, func(t *testing.T) {
			d := newDesk(t, Settings{Connections: 40, PerSite: 30, Ahead: 1000})
			d.known("s", time.Second)
			d.mail("A", "d", c.flight, Route{Site: "s"})
			d.want("in flight", d.at("s"), c.flight)
			s := d.s.sites["s"]
			s.size = float64(c.window)
			if c.rate > 0 {
				s.grant = grant{rate: c.rate, knee: c.rate, since: d.now}
			}
			d.now = d.now.Add(time.Second)
			d.s.Learned(d.now, d.begun[0].Ship, Lesson{Kind: Busy, Began: d.now, Again: c.again})
			counted := s.grant.deferred > 0 || c.rate == 0 && !s.grant.since.IsZero()
			d.want("it counts", counted, c.want)
		})
	}
}

func TestWhatAttemptsTell(t *testing.T) {
	for kind, want := range map[Kind]string{
		Works: "true 1s 1s", Later: "true 1s 1s", Busy: "true 1s 1s", Unreachable: "true 1s 0s",
		Remembered: "false 0s 0s", LoginRefused: "false 0s 0s", Nothing: "false 0s 0s", Ours: "false 0s 0s",
	} {
		t.Run(fmt.Sprint("L6 how long one took, after ", kind), func(t *testing.T) {
			d := newDesk(t, Settings{Connections: 9, PerSite: 9, Ahead: 400})
			d.mails("A", "s")
			d.pass(time.Second)
			d.s.Learned(d.now, d.begun[0].Ship, Lesson{Kind: kind, Began: origin, Wait: time.Minute, Cause: NetworkFails})
			s := d.s.sites["s"]
			d.want("known, the last, on average", fmt.Sprint(s.known, s.last, s.took), want)
		})
	}
	t.Run("L2 ten deferrals in a row halve the window", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 9, Ahead: 400})
		d.known("s", time.Second)
		d.mail("A", "d", 16, Route{Site: "s"})
		for i := range manyDeferrals {
			d.want(fmt.Sprint("the window after ", i), d.s.sites["s"].size, 3)
			d.now = d.now.Add(time.Second)
			d.taught(d.begun[0], Later)
		}
		d.want("the window after ten", d.s.sites["s"].size, 1.5)
	})
	for kind, why := range map[Kind]Why{Unreachable: Down, Remembered: Down, LoginRefused: Refused} {
		t.Run(fmt.Sprint("B1 what waits goes back after ", kind), func(t *testing.T) {
			d := newDesk(t, Settings{Connections: 9, PerSite: 9, Ahead: 400})
			d.known("s", time.Second)
			d.mail("A", "d", 6, Route{Site: "s"})
			d.s.Learned(d.now, d.begun[0].Ship, Lesson{Kind: kind, Began: d.now, Wait: time.Minute})
			d.decide()
			d.want("gone back", len(d.back), 3)
			for _, b := range d.back {
				d.want("why", b.Why, why)
			}
		})
	}
	t.Run("B2 a host takes something after the login was refused for long", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 9, Ahead: 400})
		d.mail("A", "d", 6, Route{Site: "s"})
		d.taught(d.begun[0], LoginRefused)
		d.settle()
		for len(d.begun) > 0 {
			d.end(d.begun[0], Nothing, 0)
		}
		d.pass(refusedFor)
		d.mail("A", "e", 1, Route{Site: "s"})
		d.taught(d.begun[0], Works)
		d.want("lifted", d.lift, []Lift{{Destination: "d"}})
	})
	t.Run("M5 what is in flight counts for a quick site as soon as it has shown that it is", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 9, PerSite: 9, Ahead: 400})
		d.mail("A", "d", 2, Route{Site: "s"})
		d.want("held at sites that are not quick", d.s.heldSlow, 2)
		d.taught(d.begun[0], Works)
		d.want("held at sites that are not quick", d.s.heldSlow, 0)
	})
}

// TestQuick has a site that is quick, where attempts may end or not.
func TestQuick(t *testing.T) {
	const most = quickTime
	quick := func(t *testing.T, what string, d *desk, want bool) {
		t.Helper()
		if got := d.s.sites["s"].isQuick(d.now); got != want {
			t.Errorf("L6 quick %s: %t, want %t", what, got, want)
		}
	}
	in := func(t *testing.T, mail int) *desk {
		d := newDesk(t, Settings{Connections: 9, PerSite: 9, Ahead: 400})
		d.known("s", time.Second)
		quick(t, "when a message was taken", d, true)
		d.pass(time.Hour)
		quick(t, "an hour later", d, true)
		d.mail("A", "d", mail, Route{Site: "s"})
		quick(t, "when attempts have begun", d, true)
		return d
	}
	d := in(t, 2)
	d.pass(most - 1)
	quick(t, "while they take less than five seconds", d, true)
	d.pass(1)
	quick(t, "when they take five seconds", d, false)
	d.s.Learned(d.now, d.begun[0].Ship, Lesson{Kind: Later, Began: d.now.Add(-1)})
	quick(t, "when one has taught something", d, true)

	d = in(t, 2)
	d.pass(most - 1)
	d.mails("A", "s")
	d.want("in flight", d.at("s"), 3)
	d.pass(1)
	quick(t, "five seconds after the first of those in flight, when another has begun since", d, false)
	d.s.Ended(d.now, d.begun[0].Ship)
	quick(t, "when one has ended", d, true)
}

// TestQuickAgain has a site that was not quick any more teach that it is, while all that
// is not kept for quick ones is in use.
func TestQuickAgain(t *testing.T) {
	d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
	d.known("s", time.Second)
	d.mails("A", "s")
	d.pass(quickTime)
	for i := range 6 {
		d.mails("A", fmt.Sprint("n", i))
	}
	d.mails("A", "s")
	d.want("L6 in flight while it is not quick", d.at("s"), 1)
	d.s.Learned(d.now, d.begun[0].Ship, Lesson{Kind: Later, Began: d.now.Add(-time.Second)})
	d.s.FlushAll(d.now)
	d.decide()
	d.want("L6 in flight when it has shown that it is", d.at("s"), 2)
}

func TestWindowOfSite(t *testing.T) {
	one := func(t *testing.T) *desk {
		d := newDesk(t, Settings{Connections: 9, PerSite: 9, Ahead: 400})
		d.known("s", time.Second)
		d.s.sites["s"].size = 6
		d.mail("A", "d", 6, Route{Site: "s"})
		d.now = d.now.Add(time.Second)
		return d
	}
	t.Run("L2 is one where no host could be asked, and grows from there", func(t *testing.T) {
		d := one(t)
		d.taught(d.begun[0], Unreachable)
		d.want("size", d.s.sites["s"].size, 1)
		d.taught(d.begun[0], Works)
		d.want("size when a host has taken something", d.s.sites["s"].size, 2)
	})
	t.Run("L2 halves where one could be asked meanwhile", func(t *testing.T) {
		d := one(t)
		began := d.now
		d.now = d.now.Add(time.Second)
		d.taught(d.begun[0], Works)
		d.s.Learned(d.now, d.begun[0].Ship, Lesson{Kind: Unreachable, Began: began, Wait: time.Minute})
		d.want("size", d.s.sites["s"].size, 3.5)
	})
}
