package sched

import (
	"fmt"
	"testing"
	"time"
)

// taught has an attempt teach something, says what the operator is told, and settles
// what it was made for.
func (d *desk) taught(b Begin, k Kind) Notice {
	n := d.s.Learned(d.now, b.Ship, Lesson{Kind: k, Began: d.now, Wait: time.Minute, Said: "no"})
	for i := range d.begun {
		if d.begun[i].Ship == b.Ship {
			d.begun = append(d.begun[:i], d.begun[i+1:]...)
			break
		}
	}
	for _, id := range b.Mail {
		d.s.Gone(d.now, id)
	}
	d.s.Ended(d.now, b.Ship)
	for _, id := range b.Mail {
		d.s.Settled(d.now, id, false, time.Time{})
	}
	d.decide()
	return n
}

func TestTold(t *testing.T) {
	d := newDesk(t, Settings{Connections: 9, PerSite: 3, Ahead: 400})
	for i, c := range []struct {
		kind Kind
		want Notice
	}{
		{Works, NoNotice}, {LoginRefused, LoginOut}, {LoginRefused, NoNotice}, {Nothing, NoNotice}, {Remembered, NoNotice}, {Unreachable, NoNotice},
		{Works, LoginBack}, {Works, NoNotice}, {LoginRefused, LoginOut}, {Later, LoginBack}, {Later, NoNotice},
		{LoginRefused, LoginOut}, {Busy, LoginBack}, {Busy, NoNotice},
	} {
		d.now = d.now.Add(time.Hour)
		d.mails("A", "s")
		d.want(fmt.Sprint("told of the ", i, "th, ", c.kind), d.taught(d.lastBegun(), c.kind), c.want)
	}
}

func TestLessons(t *testing.T) {
	// one has a site that took one message, and so much mail that waits there.
	one := func(t *testing.T, mail int) *desk {
		d := newDesk(t, Settings{Connections: 9, PerSite: 9, Ahead: 400})
		d.known("s", time.Second)
		d.mail("A", "d", mail, Route{Site: "s"})
		return d
	}
	t.Run("L2 a site has the window that its attempts taught", func(t *testing.T) {
		d := one(t, 16)
		d.want("in flight after a success", d.at("s"), 3)
		d.taught(d.begun[0], Works)
		d.want("after another", d.at("s"), 4)
		d.want("the window", d.s.Window(d.begun[0].Ship), 4)
		d.now = d.now.Add(1)
		d.taught(d.begun[0], Busy)
		d.want("the window after one too many", d.s.Window(d.begun[0].Ship), 2)
		d.taught(d.begun[0], Later)
		d.want("the window after a deferral", d.s.Window(d.begun[0].Ship), 2)
		d.want("in flight", d.at("s"), 2)
	})
	t.Run("L3 ten attempts of which nothing came make a pace, and what would wait long goes back", func(t *testing.T) {
		d := one(t, 20)
		for i := range manyDeferrals {
			d.now = d.now.Add(time.Second)
			d.want(fmt.Sprint("gone back after ", i), len(d.back), 0)
			d.taught(d.begun[0], Later)
		}
		d.want("of those that waited there", len(d.back), 20-manyDeferrals-d.at("s")-d.s.sites["s"].waiting)
		if len(d.back) == 0 {
			t.Error("nothing goes back")
		}
		for _, b := range d.back {
			d.want("why", b.Why, Parked)
		}
	})
	t.Run("L3 few stay, one after the other", func(t *testing.T) {
		for more, back := range map[int]int{0: 0, 1: fewAhead + 1} {
			d := one(t, manyDeferrals+fewAhead+more)
			for range manyDeferrals {
				d.now = d.now.Add(time.Second)
				d.taught(d.begun[0], Busy)
			}
			d.want("gone back", len(d.back), back)
			if more > 0 {
				continue
			}
			for range fewAhead - 1 {
				d.want("in flight", d.at("s"), 1)
				d.end(d.begun[0], Nothing, time.Second)
				d.want("in flight before the pace", d.at("s"), 0)
				d.pass(firstPace)
			}
		}
	})
	t.Run("a lesson of an attempt that began before another succeeded says little", func(t *testing.T) {
		d := one(t, 6)
		first, second := d.begun[0], d.begun[1]
		began := d.now
		d.now = d.now.Add(time.Second)
		d.taught(first, Works)
		d.s.Learned(d.now, second.Ship, Lesson{Kind: Unreachable, Began: began, Wait: time.Minute})
		d.want("failures", d.s.Failures(second.Ship), 0)
		d.want("it is left alone", d.s.Until(second.Ship).IsZero(), true)
	})
	t.Run("those that failed together fail once", func(t *testing.T) {
		d := one(t, 6)
		first, second := d.begun[0], d.begun[1]
		d.now = d.now.Add(time.Second)
		d.s.Learned(d.now, first.Ship, Lesson{Kind: Unreachable, Began: d.now, Wait: time.Minute, Said: "first"})
		d.want("failures", d.s.Failures(second.Ship), 1)
		until := d.now.Add(time.Minute)
		d.now = d.now.Add(time.Second)
		d.s.Learned(d.now, second.Ship, Lesson{Kind: Unreachable, Began: d.now, Wait: time.Minute, Said: "second"})
		d.want("failures", d.s.Failures(second.Ship), 1)
		d.want("until when it is left alone", d.s.Until(second.Ship), until)
		d.want("said", d.s.Said(second.Ship), "second")
		d.s.Learned(d.now, first.Ship, Lesson{Kind: Remembered, Began: d.now, Wait: time.Hour})
		d.want("until when after one that asked nobody", d.s.Until(second.Ship), until)
		d.s.Learned(d.now, first.Ship, Lesson{Kind: Works, Began: d.now})
		d.want("failures when one works", d.s.Failures(second.Ship), 0)
		d.want("said then", d.s.Said(second.Ship), "")
	})
	t.Run("a site that works again has its window soon", func(t *testing.T) {
		for name, again := range map[string]func(d *desk){
			"a host takes something": func(d *desk) { d.pass(time.Minute); d.mails("A", "s"); d.taught(d.lastBegun(), Works) },
			"somebody flushes":       func(d *desk) { d.s.FlushAll(d.now) },
		} {
			d := one(t, 1)
			d.taught(d.begun[0], Unreachable)
			d.settle()
			again(d)
			d.mail("A", "d", 12, Route{Site: "s"})
			for range 4 {
				d.taught(d.begun[0], Works)
			}
			if n := d.s.Window(d.begun[0].Ship); n < 5 {
				t.Errorf("window after %s and four successes: %d, want 5 at least", name, n)
			}
		}
	})
	t.Run("what had no room waits as before and is charged nothing", func(t *testing.T) {
		d := one(t, 4)
		b := d.begun[0]
		d.s.Learned(d.now, b.Ship, Lesson{Kind: Busy, Began: d.now, Again: true})
		d.s.Learned(d.now, b.Ship, Lesson{Kind: Busy, Began: d.now})
		d.s.Ended(d.now, b.Ship)
		d.decide()
		d.want("held", d.s.Stats(d.now).Held, 4)
		d.want("gone back", len(d.back), 0)
		d.want("what waits and is in flight", d.s.sites["s"].held, 4)
	})
	t.Run("what had no room goes back where the site is left alone since", func(t *testing.T) {
		d := one(t, 2)
		b := d.begun[0]
		d.s.Learned(d.now, b.Ship, Lesson{Kind: Busy, Began: d.now, Again: true})
		d.s.Learned(d.now, d.begun[1].Ship, Lesson{Kind: Unreachable, Began: d.now, Wait: time.Minute})
		d.s.Ended(d.now, b.Ship)
		d.decide()
		d.want("gone back", fmt.Sprint(len(d.back), d.back[0].ID == b.Mail[0], d.back[0].Why), fmt.Sprint(1, true, Down))
	})
	t.Run("what the caller says nothing of is gone when the attempt has ended", func(t *testing.T) {
		d := one(t, 1)
		b := d.begun[0]
		d.s.Learned(d.now, b.Ship, Lesson{Kind: Works, Began: d.now})
		d.s.Ended(d.now, b.Ship)
		d.decide()
		d.want("gone back", len(d.back), 0)
		d.want("held at the site", d.s.sites["s"].held, 0)
		d.want("held until it is settled", d.s.Stats(d.now).Held, 1)
		d.s.Settled(d.now, b.Mail[0], false, time.Time{})
		d.want("held then", d.s.Stats(d.now).Held, 0)
	})
	t.Run("an attempt that decided nothing because its site is left alone gives its mail back", func(t *testing.T) {
		for kind, want := range map[Kind]Why{Remembered: Down, LoginRefused: Refused, Busy: Parked} {
			d := one(t, 1)
			b := d.begun[0]
			d.s.Learned(d.now, b.Ship, Lesson{Kind: kind, Began: d.now, Wait: time.Minute})
			d.s.KeptBack(d.now, b.Mail[0])
			d.s.Ended(d.now, b.Ship)
			d.decide()
			d.want(fmt.Sprint("gone back after ", kind), fmt.Sprint(len(d.back), d.back[0].Why, d.s.sites["s"].held), fmt.Sprint(1, want, 0))
		}
	})
	t.Run("what moves is kept back for its old site no longer", func(t *testing.T) {
		d := one(t, 1)
		b := d.begun[0]
		d.mail("A", "d", 40, Route{Site: "s"})
		d.settle()
		d.claimed("A", "none", 0)
		d.lift, d.claim = nil, nil
		d.s.Moved(d.now, b.Mail[0], Route{Site: "o"})
		d.decide()
		d.want("lifted", d.lift, []Lift{{Destination: "d", Parked: true}})
		d.want("begun where it goes now", d.at("o"), 1)
		d.want("a claim at once", d.claim != nil, true)
	})
}

func TestClaimAgain(t *testing.T) {
	for name, c := range map[string]func(d *desk){
		"somebody flushes all":           func(d *desk) { d.s.FlushAll(d.now) },
		"somebody flushes a destination": func(d *desk) { d.s.Flush(d.now, "", "d") },
		"the settings change":            func(d *desk) { d.s.Configure(d.now, d.s.settings) },
		"there is room for events":       func(d *desk) { d.s.Stop(d.now, true); d.decide(); d.s.Stop(d.now, false) },
		"mail is settled that is left":   func(d *desk) { d.s.Settled(d.now, 77, true, time.Time{}) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
			d.claimed("A", "d", 0)
			d.pass(time.Hour)
			d.want("a claim of what is not there", d.claim == nil, true)
			c(d)
			d.decide()
			d.want("a claim", d.claim != nil, true)
		})
	}
	t.Run("mail that is due later is claimed then", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.claimed("A", "d", 0)
		d.s.Settled(d.now, 77, true, d.now.Add(time.Minute))
		d.s.Settled(d.now, 78, true, d.now.Add(time.Hour))
		d.s.Settled(d.now, 79, false, d.now.Add(time.Second))
		d.decide()
		d.want("wakes", d.out.Wake.Sub(d.now), time.Minute)
		d.pass(time.Minute - 1)
		d.want("a claim before", d.claim == nil, true)
		d.pass(1)
		d.want("a claim", d.claim != nil, true)
	})
	t.Run("nothing is claimed anew because there was room for events all along", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.claimed("A", "d", 0)
		d.s.Stop(d.now, false)
		d.decide()
		d.want("a claim", d.claim == nil, true)
		d.s.MailCame(d.now)
		d.s.Stop(d.now, true)
		d.decide()
		d.want("a claim while there is none", d.claim == nil, true)
	})
	t.Run("mail that came while a claim was under way is claimed after it", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.claim = nil
		d.s.MailCame(d.now)
		d.s.Claimed(d.now, nil, false, d.now.Add(time.Hour))
		d.decide()
		d.want("a claim", d.claim != nil, true)
		d.claim = nil
		d.s.Claimed(d.now, nil, false, d.now.Add(time.Hour))
		d.decide()
		d.want("a claim after that", d.claim == nil, true)
		d.want("wakes", d.out.Wake.Sub(d.now), time.Hour)
	})
	t.Run("what is due later of a destination that is parked no longer is claimed then, by any claim", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 32, PerSite: 2, Ahead: 2000})
		d.known("s", time.Second)
		d.mail("A", "d", 40, Route{Site: "s"})
		d.settle()
		answer := func(next time.Time) {
			d.claim = nil
			d.s.Claimed(d.now, nil, false, next)
			d.decide()
		}
		for i := 0; i < 99 && (d.claim == nil || len(d.claim.Destinations) == 0); i++ {
			if d.claim != nil {
				answer(d.now.Add(parkedFor))
			} else {
				d.end(d.begun[0], Works, time.Second)
			}
		}
		d.want("a claim for the site", d.claim.Destinations, []string{"d"})
		answer(d.now.Add(time.Minute))
		for d.claim != nil {
			answer(d.now.Add(parkedFor))
		}
		d.want("wakes", d.out.Wake.Sub(d.now), time.Minute)
		d.pass(time.Minute)
		d.want("a claim of all that is left", d.claim != nil && len(d.claim.Destinations) == 0, true)
	})
	t.Run("after a claim that found nothing of what is there is a pause", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.claim = nil
		d.s.Claimed(d.now, nil, true, time.Time{})
		d.pass(emptyPause - 1)
		d.want("a claim before", d.claim == nil, true)
		d.pass(1)
		d.want("a claim", d.claim != nil, true)
		d.s.Claimed(d.now, []Mail{{ID: 1, Message: "m", Destination: "d", Tenant: "A", Recipients: 1}}, true, time.Time{})
		d.claim = nil
		d.decide()
		d.want("a claim at once where something was found", d.claim != nil, true)
	})
	t.Run("claims wait for more where there is plenty to do", func(t *testing.T) {
		for _, c := range []struct {
			held, found int
			more, waits bool
		}{
			{claimMost / 4, 1, false, true}, {claimMost/4 - 1, 1, false, false}, {100, 1, false, true}, {100, claimMost/4 - 1, false, true},
			{100, claimMost / 4, false, false}, {100, 0, false, false}, {100, 1, true, false},
		} {
			d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 1000})
			d.claimed("A", "d", c.held)
			d.s.MailCame(d.now)
			d.pass(gatherMore)
			if d.claim == nil {
				t.Fatal("no claim")
			}
			list := make([]Mail, c.found)
			for i := range list {
				d.last++
				list[i] = Mail{ID: d.last, Message: fmt.Sprint(d.last), Destination: "d", Tenant: "A", Recipients: 1}
			}
			d.claim = nil
			d.s.Claimed(d.now, list, c.more, time.Time{})
			d.s.MailCame(d.now)
			d.decide()
			d.want(fmt.Sprintf("it waits for more: %+v", c), d.claim == nil, c.waits)
			d.pass(gatherMore)
			d.want(fmt.Sprintf("a claim then: %+v", c), d.claim != nil, true)
		}
	})
	t.Run("it waits for no more where little is held for what is in flight", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 100, PerSite: 100, Ahead: 1000})
		for i := range 40 {
			d.mails("A", fmt.Sprint("s", i))
		}
		d.want("in flight", len(d.begun), 40)
		d.s.MailCame(d.now)
		d.decide()
		d.claimed("A", "d", 1)
		d.s.MailCame(d.now)
		d.decide()
		d.want("a claim at once", d.claim != nil, true)
	})
}

func TestForgottenSites(t *testing.T) {
	d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 4000})
	d.mail("A", "held", 3, Route{Site: "held"})
	d.known("first", time.Second)
	d.known("again", time.Second)
	for i := range maxSites - 3 {
		d.known(fmt.Sprint(i), time.Second)
	}
	d.known("again", time.Second)
	d.want("known", d.s.Stats(d.now).Sites, maxSites)
	d.known("last", time.Second)
	d.want("known after one more", d.s.Stats(d.now).Sites, maxSites-(forgetMost-1)+1)
	for site, want := range map[string]bool{"held": true, "first": false, "0": false, "61": false, "62": true, "again": true, "last": true} {
		d.want(site+" is known", d.s.sites[site] != nil, want)
	}
	d.want("in flight", d.at("held"), 2)
}

// TestRefusedAtOnce has a site refuse the login in two attempts that are in flight together:
// its mail stays where it is for as long as the first has said.
func TestRefusedAtOnce(t *testing.T) {
	t.Run("B2", func(t *testing.T) {
		d := newDesk(t, Settings{Connections: 8, PerSite: 2, Ahead: 400})
		d.mail("A", "d.s", 3, Route{Site: "s"})
		d.want("in flight", d.at("s"), 2)
		for range 2 {
			d.learn(d.begun[0], Lesson{Kind: LoginRefused, Began: d.now})
			d.want("lifted", len(d.out.Lift), 0)
			d.pass(time.Second)
		}
		d.want("gone back", len(d.back) > 0, true)
	})
}
