package sched

import "time"

// grant is the rate at which a site takes mail, where it defers what comes faster. It
// is zero until the site defers a good part of what it is offered while it takes the
// rest: from then on it is what the site took meanwhile. It grows as CUBIC's window
// does: quickly up to what was too much the last time, slowly around that, and then the
// faster the longer all goes well.
//
// What is deferred for another reason is deferred at any rate. So a rate that has
// fallen to a third, and has made nothing better, is forgotten, and for some time none
// is looked for.
type grant struct {
	rate  float64   // attempts a second; zero is no limit
	knee  float64   // what it took when it deferred too much the last time
	cut   time.Time // when that was
	rough bool      // knee is an estimate: what it takes may be more
	good  float64   // the last rate at which the site deferred little, since then; zero where it has none
	best  float64   // the last one of all, or what was found at first

	since           time.Time // when what is counted began; zero where nothing is
	taken, deferred float64   // attempts
	spent           bool      // the site has taken nothing since the rate fell: it may count by the minute

	deaf  time.Time     // none is looked for before
	pause time.Duration // for how long
}

const (
	// grantRound is of how many attempts a site's rate is judged by.
	grantRound = 16

	// A site defers for its rate if it defers a quarter of what it is offered, and takes
	// one in 32. Once there is a rate, one in eight is too much.
	grantFound  = 1.0 / 4
	grantTaken  = 1.0 / 32
	grantTooBig = 1.0 / 8

	// grantSearch is how long a rate is looked for at the longest, and grantLeast how many
	// attempts a second it takes to find one.
	grantSearch = 150 * time.Second
	grantLeast  = 1.6

	// grantBack is what is left of the rate that was too much, grantTime how long it
	// takes to double that, but for grantAttempts at least, and grantStep how much it
	// grows at once.
	grantBack     = 0.95
	grantTime     = 10 * time.Second
	grantAttempts = 100
	grantStep     = 1.1

	// grantVain is how far a rate may fall that makes nothing better.
	grantVain = 3

	// A rate that has grown to this many times what was too much is no limit any more.
	grantGone = 8

	firstDeaf = 10 * time.Minute
	lastDeaf  = 12 * time.Hour
)

// pressed is what the site is like while its rate is looked for: whether more mail waits
// for it, and how long an attempt takes.
type pressed struct {
	waits bool
	took  time.Duration
}

// judge notes which part of an attempt was deferred for what may be the rate. It
// reports whether the site has got a rate.
func (g *grant) judge(began, now time.Time, deferred float64, by pressed) (found bool) {
	switch {
	case g.since.IsZero():
		if deferred > 0 && !now.Before(g.deaf) {
			g.count(now)
		}
		return false
	case began.Before(g.since):
		return false // by what was in flight then it had no choice
	}
	if g.spent && deferred == 1 {
		return false
	}
	g.spent = false
	g.deferred += deferred
	g.taken += 1 - deferred
	switch {
	case g.rate == 0:
		return deferred > 0 && g.find(now, by)
	case g.deferred > grantTooBig*grantRound:
		g.shrink(now)
	case g.taken+g.deferred >= grantRound:
		g.grow(now, by.waits)
	}
	return false
}

// count begins to count.
func (g *grant) count(now time.Time) { g.since, g.taken, g.deferred = now, 0, 0 }

// find looks whether what was counted between two deferrals tells a rate: what was taken
// in between. Where no more mail waits nothing would be gained by one.
func (g *grant) find(now time.Time, by pressed) bool {
	n, elapsed := g.taken+g.deferred, now.Sub(g.since)
	switch {
	case n < grantRound:
		return false
	case g.deferred < grantFound*n, elapsed > grantSearch, n < grantLeast*elapsed.Seconds(), !by.waits:
		g.count(now)
		return false
	case g.taken < 2, g.taken < grantTaken*n, elapsed < 4*by.took:
		return false
	}
	g.best = g.taken / elapsed.Seconds()
	g.set(now, g.best)
	return true
}

// set goes back from what was too much.
func (g *grant) set(now time.Time, knee float64) {
	g.rough = g.rate == 0 || knee < 3*g.rate/4
	g.knee, g.rate, g.cut, g.good = knee, grantBack*knee, now, 0
	g.count(now)
	g.spent = true
}

// shrink goes back to the last rate that was good, or to what was taken where that one is
// too much by now.
func (g *grant) shrink(now time.Time) {
	g.set(now, max(g.rate*g.taken/(g.taken+g.deferred), g.rate/2, g.good))
	if g.rate < g.best/grantVain {
		pause := min(max(2*g.pause, firstDeaf), lastDeaf)
		*g = grant{pause: pause, deaf: now.Add(pause)}
	}
}

// grow grows, unless the site may defer little because there was little.
func (g *grant) grow(now time.Time, waits bool) {
	if g.best = g.rate; g.deferred == 0 {
		g.good = g.rate
	}
	g.count(now)
	if !waits {
		return
	}
	span := max(grantTime.Seconds(), grantAttempts/g.knee)
	const toKnee = 0.3684 // whose cube is 1 - grantBack
	u := now.Sub(g.cut).Seconds()/span - toKnee
	if next := g.rate * grantStep; g.rough {
		g.rate = next
	} else {
		g.rate = min(max(g.rate, g.knee*(1+u*u*u)), next)
	}
	if g.rate > grantGone*g.knee {
		*g = grant{}
	}
}

// next is before when no attempt is to begin after one that begins now and that was not
// to begin before at. What begins late is made up for, half of it at most.
func (g *grant) next(now, at time.Time) time.Time {
	wait := interval(g.rate)
	if next := at.Add(wait); next.After(now.Add(wait / 2)) {
		return next
	}
	return now.Add(wait / 2)
}

// interval is the time between two of so many a second; zero where that is no limit.
func interval(rate float64) time.Duration {
	if rate <= 0 {
		return 0
	}
	return time.Duration(min(float64(time.Second)/rate, float64(24*time.Hour)))
}
