package sched

import "time"

// grant is the rate at which a site takes mail, if it defers mail that comes faster. It
// is zero until the site defers a good part of what it is offered while it takes the
// rest; then it is the rate at which the site took the rest. It grows like CUBIC's
// window: quickly up to the rate that was too much the last time, slowly around it, and
// then faster the longer all goes well.
//
// Mail that is deferred for another reason is deferred at any rate. So a rate that has
// fallen to a third without any improvement is forgotten, and for some time no rate is
// looked for.
type grant struct {
	rate  float64   // attempts a second; zero is no limit
	knee  float64   // the rate that the site took when it last deferred too much
	cut   time.Time // when that was
	rough bool      // knee is an estimate, and the site may take more
	good  float64   // the last rate since cut at which the site deferred nothing; zero if there was none
	best  float64   // the last rate of all at which it deferred little, or the first one found

	since           time.Time // when counting began; zero if nothing is counted
	taken, deferred float64   // attempts counted since then
	spent           bool      // the site has taken nothing since the rate fell: it may count by the minute

	deaf  time.Time     // no rate is looked for before
	pause time.Duration // how long that lasts
}

const (
	// grantRound is how many attempts are counted to judge a rate.
	grantRound = 16

	// A site is taken to defer for its rate if it defers a quarter of what it is offered
	// and takes one in 32. Once there is a rate, one deferral in eight is too many.
	grantFound  = 1.0 / 4
	grantTaken  = 1.0 / 32
	grantTooBig = 1.0 / 8

	// grantSearch is the longest time over which attempts are counted to find a rate, and
	// grantLeast the least number of attempts a second in that time.
	grantSearch = 150 * time.Second
	grantLeast  = 1.6

	// A rate that was too much is multiplied by grantBack. It doubles within grantTime,
	// or within the time of grantAttempts attempts if that is longer, and grows at most
	// by the factor grantStep at once.
	grantBack     = 0.95
	grantTime     = 10 * time.Second
	grantAttempts = 100
	grantStep     = 1.1

	// A rate that has fallen to less than its best by this factor improves nothing.
	grantVain = 3

	// A rate that has grown to this many times the one that was too much is dropped.
	grantGone = 8

	firstDeaf = 10 * time.Minute
	lastDeaf  = 12 * time.Hour
)

// pressed describes a site while its rate is looked for: whether more mail waits for it,
// and how long an attempt takes.
type pressed struct {
	waits bool
	took  time.Duration
}

// judge notes the part of an attempt, from 0 to 1, that was deferred for what may be the
// rate. It reports whether the site has just got a rate.
func (g *grant) judge(began, now time.Time, deferred float64, by pressed) (found bool) {
	switch {
	case g.since.IsZero():
		if deferred > 0 && !now.Before(g.deaf) {
			g.count(now)
		}
		return false
	case began.Before(g.since):
		return false // the attempt began before counting did
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

// count starts counting from zero.
func (g *grant) count(now time.Time) { g.since, g.taken, g.deferred = now, 0, 0 }

// find checks whether the attempts counted between two deferrals show a rate: what was
// taken in between. If no more mail waits, a rate would gain nothing.
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

// set lowers the rate below one that was too much.
func (g *grant) set(now time.Time, knee float64) {
	g.rough = g.rate == 0 || knee < 3*g.rate/4
	g.knee, g.rate, g.cut, g.good = knee, grantBack*knee, now, 0
	g.count(now)
	g.spent = true
}

// shrink lowers the rate to the last good one, or to what was taken if the good one is
// too much by now.
func (g *grant) shrink(now time.Time) {
	g.set(now, max(g.rate*g.taken/(g.taken+g.deferred), g.rate/2, g.good))
	if g.rate < g.best/grantVain {
		pause := min(max(2*g.pause, firstDeaf), lastDeaf)
		*g = grant{pause: pause, deaf: now.Add(pause)}
	}
}

// grow raises the rate, unless little mail may be the reason that little was deferred.
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

// next returns the earliest time for the attempt after one that begins now and was
// planned for at. If this one is late, the next may make up for it, but comes no sooner
// than half an interval from now.
func (g *grant) next(now, at time.Time) time.Time {
	wait := interval(g.rate)
	if next := at.Add(wait); next.After(now.Add(wait / 2)) {
		return next
	}
	return now.Add(wait / 2)
}

// interval returns the time between two attempts at a rate of so many a second; zero if
// the rate is no limit.
func interval(rate float64) time.Duration {
	if rate <= 0 {
		return 0
	}
	return time.Duration(min(float64(time.Second)/rate, float64(24*time.Hour)))
}

// lower returns the lower of two rates, of which zero is no limit.
func lower(a, b float64) float64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
