package sched

import (
	"fmt"
	"testing"
	"time"
)

// TestMakesWay has sites that are not quick hold all that they may, and looks at which
// of them makes way for mail that comes.
func TestMakesWay(t *testing.T) {
	const most = 160 // four fifths of half of 400
	crowd := func(t *testing.T) *desk { return newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400}) }
	// fill has new sites with one delivery each, until no more are held.
	fill := func(d *desk, name string) {
		for i := 0; d.s.heldSlow < most; i++ {
			d.mails("A", fmt.Sprint(name, i))
		}
		d.want("gone back before there is no room", len(d.back), 0)
	}
	// waiting has seven sites in flight and some that wait, of which k is known by now.
	waiting := func(d *desk) {
		d.mails("A", "x0", "x1", "x2", "x3", "x4", "x5", "x6", "k", "n0", "n1", "n2")
		d.end(d.begun[0], Nothing, time.Second)
		d.want("begun when one has ended", d.lastBegun().Site, "k")
		d.end(d.lastBegun(), Works, 6*time.Second)
		d.mails("A", "k")
	}
	for _, c := range []struct {
		name string
		has  func(d *desk)
		to   string // whose mail comes
		back string // whose mail goes back; if empty, nobody's
	}{
		{name: "the first that waits", has: func(*desk) {}, to: "new", back: "f7"},
		{name: "not one where an attempt is in flight", has: func(d *desk) { d.mail("A", "d.b", 3, Route{Site: "b"}) }, to: "new", back: "f5"},
		{name: "not one where a trial is in flight", has: func(d *desk) {
			d.mails("A", "x0", "x1", "x2", "x3", "x4", "x5")
			d.mail("A", "d.b", 3, Route{Site: "b"})
		}, to: "new", back: "f0"},
		{name: "not one that is known", has: waiting, to: "new", back: "n1"},
		{name: "not one that has no mail any more", has: func(d *desk) {
			waiting(d)
			for id, m := range d.s.items {
				if m.Destination == "d.n1" && d.s.Withdraw(d.now, id) {
					d.s.Settled(d.now, id, false, time.Time{})
				}
			}
		}, to: "new", back: "n2"},
		{name: "none where all are in use", has: func(d *desk) {
			d.mail("A", "d.b", firstAhead+fewAhead, Route{Site: "b"})
			d.mail("A", "d.c", most-firstAhead-fewAhead, Route{Site: "c"})
		}, to: "new", back: "new"},
		{name: "none for one that is known", has: func(d *desk) { d.known("slow", 6*time.Second) }, to: "slow", back: "slow"},
		{name: "none for one that is quick, which has room", has: func(d *desk) { d.known("quick", time.Second) }, to: "quick"},
	} {
		t.Run("M5 "+c.name, func(t *testing.T) {
			d := crowd(t)
			c.has(d)
			fill(d, "f")
			d.mails("A", c.to)
			var back string
			for _, b := range d.back {
				back += d.s.items[b.ID].Destination
			}
			if c.back != "" {
				c.back = "d." + c.back
			}
			d.want("gone back", back, c.back)
			d.want("held where it came", d.s.sites[c.to].held, map[bool]int{true: 0, false: 1}[c.back == "d."+c.to])
		})
	}
	t.Run("M5 one that has made way waits anew when more comes for it", func(t *testing.T) {
		d := crowd(t)
		fill(d, "f")
		d.mails("A", "new")
		d.settle()
		d.mails("A", "f7")
		d.want("the trial", d.begun[6].Site, "f6")
		d.end(d.begun[6], Nothing, time.Second)
		d.pass(4 * firstTrial)
		d.want("the next is at the newest", d.lastBegun().Site, "f7")
	})
}

// TestAlarms has sites looked at again at the time that is nearest.
func TestAlarms(t *testing.T) {
	d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
	sites := map[string]*site{}
	for _, a := range []struct {
		site string
		in   time.Duration
		next string
		at   time.Duration
	}{
		{"a", 10, "a", 10}, {"b", 5, "b", 5}, {"c", 7, "b", 5}, {"c", 8, "b", 5}, {"a", 1, "a", 1}, {"a", 20, "a", 1}, {"b", 5, "a", 1},
	} {
		if sites[a.site] == nil {
			sites[a.site] = d.s.site(d.now, a.site)
		}
		d.s.alarmFor(sites[a.site], d.now.Add(a.in))
		next, _ := d.s.alarms.first()
		d.want(fmt.Sprintf("the first after %s in %v", a.site, a.in), fmt.Sprint(next.key, next.alarm.Sub(d.now)), fmt.Sprint(a.next, a.at))
	}
}
