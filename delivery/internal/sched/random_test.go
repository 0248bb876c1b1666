package sched

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// step is one step of a story: what happens, and to whom.
type step struct {
	what int
	arg  uint64
}

func (p step) pick(n int) int { return int(p.arg % uint64(n)) }
func (p step) more(i int) int { return int(p.arg >> (8 * i) & 0xff) }

// The things that happen, as often as they are named.
var happenings = []struct {
	name  string
	often int
	do    func(w *world, p step)
}{
	{"mail comes", 10, (*world).mailComes},
	{"a claim is answered", 12, func(w *world, _ step) {
		if w.claim != nil {
			w.answer()
		}
	}},
	{"a claim fails", 1, func(w *world, p step) {
		if w.claim != nil && p.pick(4) == 0 {
			w.claim = nil
			w.s.ClaimFailed(w.now)
		}
	}},
	{"a route is found", 24, (*world).routeComes},
	{"an attempt ends", 24, (*world).attemptEnds},
	{"something is settled", 24, (*world).settled},
	{"time passes", 12, func(w *world, p step) {
		w.now = w.now.Add(time.Duration(1+p.more(0)) * time.Millisecond << (p.more(1) % 10))
	}},
	{"time passes until the scheduler wants to wake", 6, func(w *world, _ step) {
		if w.out.Wake.After(w.now) {
			w.now = w.out.Wake
		}
	}},
	{"it decides again", 6, (*world).decidesAgain},
	{"it decides before it wants to wake", 6, (*world).wakesEarly},
	{"somebody looks", 3, (*world).look},
	{"somebody counts", 3, (*world).count},
	{"the settings change", 1, (*world).configure},
	{"somebody flushes", 1, (*world).flush},
	{"somebody takes mail away", 1, (*world).withdraw},
	{"a destination moves", 1, func(w *world, p step) {
		w.moved[destination(p.more(1))] = fmt.Sprint("s", string(rune('a'+p.more(2)%4)))
	}},
	{"the queue stores nothing, or does again", 1, func(w *world, p step) {
		if p.pick(4) == 0 {
			w.s.Troubled(w.now, StoreFails)
		} else {
			w.s.Recovered(w.now, StoreFails)
		}
	}},
	{"shares of limits change", 6, (*world).reshare},
	{"there is no room for events", 1, func(w *world, p step) {
		w.stopped = p.pick(8) == 0
		w.s.Stop(w.now, w.stopped)
	}},
}

func destination(n int) string { return "d" + string(rune('a'+n%12)) }

func (w *world) mailComes(p step) {
	if len(w.backlog) > 250 {
		return
	}
	tenant := "ABCDE"[min(p.more(0)%8, 4):][:1]
	to := []string{destination(p.more(1))}
	n := 1
	switch p.more(2) % 8 {
	case 0:
		n = p.more(3) % 40 // much of the same
	case 1:
		to = append(to, destination(p.more(4)), destination(p.more(5)))
		slices.Sort(to)
		to = slices.Compact(to)
	}
	for range n {
		var deadline time.Time
		if p.more(7)%4 == 0 {
			deadline = w.now.Add(time.Duration(p.more(7)) * time.Second)
		}
		w.put(tenant, p.more(6)%3-1, 1+p.more(7)%2*2000, deadline, to...)
	}
}

func (w *world) routeComes(p step) {
	if len(w.routing) == 0 {
		return
	}
	i := p.pick(len(w.routing))
	id := w.routing[i]
	w.routing = slices.Delete(w.routing, i, i+1)
	m := w.mails[id]
	switch p.more(2) % 32 {
	case 0:
		w.s.Unroutable(w.now, id, time.Minute, "no")
		if d := m.Destination; !w.noRoute[d].After(w.now) {
			w.noRoute[d] = w.now.Add(time.Minute)
		}
		w.end(m)
	case 1:
		w.s.Gone(w.now, id)
		w.end(m)
	case 2:
		w.s.Stalled(w.now, id, DNSFails)
	default:
		r := w.route(m)
		m.site, m.at = r.Site, atSite
		delete(w.noRoute, m.Destination)
		w.s.Routed(w.now, id, r)
		if w.s.items[id].state == gathering {
			return // it waits for its siblings, and then for its turn
		}
	}
}

// withdraw takes away some of what waits at a site.
func (w *world) withdraw(p step) {
	var ids []ID
	for id, m := range w.mails {
		if m.at == atSite && w.s.Idle(id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for range min(p.more(0)%4, len(ids)) {
		i := p.pick(len(ids))
		if w.s.Withdraw(w.now, ids[i]) {
			w.end(w.mails[ids[i]])
		}
		ids = slices.Delete(ids, i, i+1)
	}
}

// end notes that the world settles a delivery by itself.
func (w *world) end(m *mail) {
	m.at = gone
	w.settling = append(w.settling, m)
}

func (w *world) attemptEnds(p step) {
	if len(w.flying) == 0 {
		return
	}
	i := p.pick(len(w.flying))
	kinds := []Kind{Works, Works, Works, Works, Works, Works, Later, Later, Busy, Unreachable, Remembered, LoginRefused, Nothing, Ours}
	w.endFlight(i, kinds[p.more(2)%len(kinds)], p)
}

func (w *world) endFlight(i int, k Kind, p step) {
	f := w.flying[i]
	w.flying = slices.Delete(w.flying, i, i+1)
	if p.more(3)%16 == 0 && len(f.mail) > 0 { // moved meanwhile
		m := w.mails[f.mail[0]]
		f.mail = f.mail[1:]
		m.at, m.site, m.join = atSite, "s"+string(rune('a'+(int(f.site[1]-'a')+1+p.more(4)%3)%4)), "j"
		w.s.Moved(w.now, m.ID, Route{Site: m.site, Join: "j", Own: m.own()})
	}
	if p.more(3)%16 == 2 && len(f.mail) > 0 { // no route was found for it any more
		m := w.mails[f.mail[0]]
		f.mail = f.mail[1:]
		m.at, m.site = claimed, ""
		w.s.Stalled(w.now, m.ID, DNSFails)
	}
	wait := time.Duration(1+p.more(6)) * 3 * time.Second
	l := Lesson{Kind: k, Began: f.began, Wait: wait, Cause: NetworkFails, Said: says(p)}
	if k == Later && p.more(5)%4 > 0 || k == Works && p.more(5)%8 == 0 {
		l.Deferred = float64(1+p.more(6)%2) / 2
	}
	w.s.Learned(w.now, f.ship, l)
	w.lesson(f, k, wait, says(p))
	w.inFlight--
	w.bySite[f.site]--
	for _, g := range w.siteLimits(f.site).Groups {
		w.byGroup[g.Name]--
	}
	for _, id := range f.mail {
		m := w.mails[id]
		switch k {
		case Ours:
			m.at = atSite
		case Remembered, LoginRefused:
			w.s.KeptBack(w.now, id)
		default:
			w.s.Gone(w.now, id)
			if w.end(m); p.more(7)%4 == 1 { // before the attempt has ended
				w.settle(len(w.settling)-1, p)
			}
		}
	}
	w.s.Ended(w.now, f.ship)
}

// lesson notes when a site may be tried again.
func (w *world) lesson(f *flight, k Kind, wait time.Duration, said string) {
	site := f.site
	switch k {
	case Works, Later, Busy:
		w.alive[site], w.closed[site] = w.now, time.Time{}
		w.failed[site], w.refused[site] = 0, false
	case Unreachable:
		w.said[site] = said
		if !w.closed[site].After(w.now) && !f.began.Before(w.alive[site]) {
			w.closed[site] = w.now.Add(wait)
			w.failed[site]++
		}
	case Remembered:
		if !w.closed[site].After(w.now) {
			w.closed[site] = w.now.Add(wait)
		}
	case LoginRefused:
		if f.began.Before(w.s.configured) {
			return
		}
		w.closed[site], w.refused[site], w.said[site] = w.now.Add(refusedFor), true, said
	}
}

func (w *world) settled(p step) {
	if len(w.settling) == 0 {
		return
	}
	w.settle(p.pick(len(w.settling)), p)
}

// settle settles one of those that are to be.
func (w *world) settle(i int, p step) {
	m := w.settling[i]
	w.settling = slices.Delete(w.settling, i, i+1)
	delete(w.mails, m.ID)
	switch {
	case m.at == gone && p.more(2)%4 > 0:
		w.s.Settled(w.now, m.ID, false, time.Time{})
		return
	case m.at == gone:
		m.not = w.now.Add(time.Duration(1+p.more(3)) * time.Second)
	}
	m.at = inQueue
	w.s.Settled(w.now, m.ID, true, m.not)
	w.backlog = append(w.backlog, m)
	slices.SortStableFunc(w.backlog, func(a, b *mail) int { return a.not.Compare(b.not) })
}

func (w *world) configure(p step) {
	w.set.Connections, w.set.PerSite = 1+p.more(1)%12, 1+p.more(2)%6
	if w.set.Rate = 0; p.more(3)%8 == 0 {
		w.set.Rate = float64(1 + p.more(4)%100)
	}
	w.draw(p.arg * 0x9e3779b97f4a7c15)
	w.s.Configure(w.now, w.set)
	clear(w.began)
	clear(w.beganIn)
	clear(w.byGroup)
	for _, f := range w.flying {
		for _, g := range w.siteLimits(f.site).Groups {
			w.byGroup[g.Name]++
		}
	}
	for site := range w.refused {
		if w.refused[site] {
			w.absolve(site)
		}
	}
}

// absolve notes that a site is tried at once.
func (w *world) absolve(site string) {
	delete(w.closed, site)
	delete(w.failed, site)
	delete(w.began, site)
}

func (w *world) flush(p step) {
	if p.pick(2) == 0 {
		w.s.FlushAll(w.now)
		clear(w.began)
		clear(w.closed)
		clear(w.failed)
		clear(w.noRoute)
		return
	}
	d := destination(p.more(1))
	w.absolve(w.siteOf(d))
	delete(w.noRoute, d)
	for t := w.s.known.head; t != nil; t = t.next {
		if t.kept[d] != nil {
			w.absolve(t.key)
		}
	}
	w.s.Flush(w.now, w.siteOf(d), d)
}

// draw makes the limits of sites and groups: two of four sites in each of two groups,
// one in both.
func (w *world) draw(n uint64) {
	bits := func(k int) int { return int(n >> k & 7) }
	w.sites = nil
	if w.set.Site, w.set.Share = nil, nil; bits(0)%2 > 0 {
		return
	}
	g, h := GroupLimits{Name: "g", Connections: bits(3)}, GroupLimits{Name: "h", Connections: bits(6)}
	if bits(9) == 0 {
		g.Rate = float64(1 + bits(12))
	}
	w.sites = map[string]SiteLimits{
		"sb": {PerSite: 1 + bits(15), Groups: []GroupLimits{g}}, "sc": {PerSite: w.set.PerSite, Groups: []GroupLimits{g, h}},
		"sd": {PerSite: w.set.PerSite, Rate: float64(bits(18)), Groups: []GroupLimits{h}},
	}
	w.set.Site = w.siteLimits
	w.drawShares(n >> 24)
}

func (w *world) siteLimits(name string) SiteLimits {
	if l, found := w.sites[name]; found {
		return l
	}
	return SiteLimits{PerSite: w.set.PerSite, Rate: w.set.Rate}
}

// story is what happens to a scheduler with some settings, and whether a quiet day
// follows.
type story struct {
	set      Settings
	remember int // how many sites are known before some are forgotten
	steps    []step
	quiet    bool
}

// storyLength is how many steps a story has.
const storyLength = 2000

// newStory makes up the story of a seed.
func newStory(seed uint64) story {
	r := rand.New(rand.NewPCG(seed, 7))
	var bag []int
	for i := range happenings {
		for range happenings[i].often {
			bag = append(bag, i)
		}
	}
	s := story{remember: maxSites, steps: make([]step, storyLength), quiet: seed%2 == 0}
	if seed%8 > 4 {
		s.remember = 1 + int(seed/8%5)
	}
	for i := range s.steps {
		s.steps[i] = step{bag[r.IntN(len(bag))], r.Uint64()}
	}
	s.set = Settings{
		Connections: 1 + r.IntN(12), PerSite: 1 + r.IntN(6), Ahead: claimMost + 8 + r.IntN(64), PriorityStep: 10 * time.Minute,
	}
	return s
}

// play plays a story to its end, and then a quiet day in which everything is
// delivered, if there is one. It returns what was wrong.
func (s *story) play() (wrong string) {
	defer func() {
		if v := recover(); v != nil {
			wrong = fmt.Sprintf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	w := newWorld(s.set)
	w.s.remember = s.remember
	w.draw(uint64(s.set.Ahead) * 0x9e3779b97f4a7c15)
	w.s.Configure(w.now, w.set)
	w.decide()
	for i, p := range s.steps {
		happenings[p.what].do(w, p)
		if w.decide(); w.wrong != "" {
			return fmt.Sprintf("step %d: %s", i, w.wrong)
		}
	}
	if s.quiet {
		w.quietDay()
	}
	if w.wrong == "" {
		w.lastDay()
	}
	return w.wrong
}

// quietDay lets everything work, until the queue is empty.
func (w *world) quietDay() {
	w.stopped, w.quiet = false, true
	until, n := w.horizon(), len(w.backlog)+len(w.mails)
	w.s.Stop(w.now, false)
	w.s.Recovered(w.now, StoreFails)
	w.leaveAll()
	for range 100_000 {
		for len(w.routing) > 0 {
			m := w.mails[w.routing[0]]
			w.routing = w.routing[1:]
			r := w.route(m)
			m.site, m.at = r.Site, atSite
			w.s.Routed(w.now, m.ID, r)
		}
		if len(w.flying) > 0 {
			w.endFlight(0, Works, step{0, 1 << 24})
		}
		for len(w.settling) > 0 {
			w.settled(step{0, 1 << 16})
		}
		if w.claim != nil {
			w.answer()
		}
		w.decide()
		if w.wrong != "" || len(w.backlog)+len(w.mails) == 0 {
			if most := time.Duration(n+10) * time.Second; w.now.Sub(until) > most {
				w.fail("it takes %v for %d deliveries after the last could be tried, want %v at most", w.now.Sub(until), n, most)
			}
			return
		}
		if len(w.routing)+len(w.flying)+len(w.settling) == 0 && w.claim == nil {
			if !w.out.Wake.After(w.now) {
				w.fail("it sleeps for ever, or not at all: %d in the queue, %d held, wake %v", len(w.backlog), len(w.mails), w.out.Wake)
				return
			}
			w.now = w.out.Wake
		}
	}
	w.fail("%d in the queue and %d held after a quiet day", len(w.backlog), len(w.mails))
}

// horizon is when all that is left alone is tried again, and all that waits is due.
func (w *world) horizon() time.Time {
	last := w.now
	for _, times := range []map[string]time.Time{w.closed, w.noRoute, w.lost} {
		for _, at := range times {
			if at.After(last) {
				last = at
			}
		}
	}
	for _, list := range [][]*mail{w.backlog, w.settling} {
		for _, m := range list {
			if m.not.After(last) {
				last = m.not
			}
		}
	}
	return last
}

// lastDay ends everything, and looks for what is left.
func (w *world) lastDay() {
	w.drained = true
	w.s.Drain(w.now)
	w.decide()
	for len(w.flying) > 0 && w.wrong == "" {
		w.endFlight(0, Nothing, step{0, 1 << 24})
		w.decide()
	}
	for _, id := range w.routing {
		w.s.Gone(w.now, id)
		w.end(w.mails[id])
	}
	if w.claim != nil {
		w.answer()
	}
	w.decide()
	for len(w.settling) > 0 {
		w.settled(step{})
	}
	w.decide()
	s := w.s
	if n := len(w.mails) + len(s.items) + len(s.places) + len(s.ships) + s.held + s.heldSlow + s.inFlight; n != 0 {
		w.fail("N1: %d of %d claimed deliveries came to no end (%d places, %d ships, %d held)", len(w.mails), w.lastID, len(s.places), len(s.ships), s.held)
	}
}

// shrink leaves out of a story whatever it goes wrong without.
func (s *story) shrink() {
	wrong := kind(s.play())
	for n := len(s.steps) / 2; n > 0; {
		shorter := false
		for from := 0; from+n <= len(s.steps); {
			try := story{s.set, s.remember, slices.Delete(slices.Clone(s.steps), from, from+n), s.quiet}
			if kind(try.play()) == wrong {
				*s, shorter = try, true
			} else {
				from += n
			}
		}
		if !shorter {
			n /= 2
		}
	}
}

// kind is what was wrong, whatever the numbers are.
func kind(wrong string) string {
	if strings.HasPrefix(wrong, "step ") {
		_, wrong, _ = strings.Cut(wrong, ": ")
	}
	what, _, _ := strings.Cut(wrong, " ") // a rule, or the first word
	return what + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r == ' ' {
			return r
		}
		return -1
	}, wrong)
}

func tell(steps []step) string {
	var b strings.Builder
	for _, p := range steps {
		fmt.Fprintf(&b, "\n\t%s (%#x)", happenings[p.what].name, p.arg)
	}
	return b.String()
}

// TestRandom plays random stories: 1,000,000 steps, and 1,000,000,000 with
// NEXTHOP_LONG.
func TestRandom(t *testing.T) {
	stories := 500
	if os.Getenv("NEXTHOP_LONG") != "" {
		stories = 500_000
	}
	began := time.Now()
	var next atomic.Uint64
	var players sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		players.Go(func() {
			for !t.Failed() {
				seed := next.Add(1) - 1
				if seed >= uint64(stories) {
					return
				}
				s := newStory(seed)
				wrong := s.play()
				if wrong == "" {
					continue
				}
				t.Logf("seed %d: %s", seed, wrong)
				s.shrink()
				t.Errorf("seed %d, %+v, %d, %t: %s, after %d steps:%s", seed, s.set, s.remember, s.quiet, s.play(), len(s.steps), tell(s.steps))
			}
		})
	}
	players.Wait()
	t.Logf("%d steps, %.0f a second", stories*storyLength, float64(stories*storyLength)/time.Since(began).Seconds())
}
