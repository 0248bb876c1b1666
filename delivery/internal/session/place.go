package session

import (
	"slices"
	"time"
)

// join takes a place, or waits for one; nil if it has it.
func (g *Gate) join(want *pass, k key) *waiter {
	limits := g.limits()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reached(&limits, want) == noLimit {
		g.count(want, 1)
		return nil
	}
	w := &waiter{pass: want, key: k, signal: make(chan struct{}, 1), done: make(chan struct{})}
	g.waiting = append(g.waiting, w)
	return w
}

// withdraw ends a wait; false if it has come to its end already.
func (g *Gate) withdraw(w *waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, w)
	if i < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	return true
}

// admit gives places to those who wait for one, in order. One that has a place which
// a session was ended for on another's behalf leaves that one to look for a further
// session. The caller holds g.mu.
func (g *Gate) admit() {
	if len(g.waiting) == 0 {
		return
	}
	limits := g.limits()
	owed := 0
	g.waiting = slices.DeleteFunc(g.waiting, func(w *waiter) bool {
		switch way := g.reached(&limits, w.pass); {
		case way == noLimit:
			g.count(w.pass, 1)
			if w.way == noLimit {
				owed++
			}
			close(w.done)
			return true
		case w.way == noLimit:
		case way != w.way:
			w.lookAgain()
		case owed > 0:
			owed--
			w.lookAgain()
		}
		return false
	})
}

// lookAgain has a waiter look for a session to end though one has been ended for it.
func (w *waiter) lookAgain() {
	w.way = noLimit
	w.look()
}

// look has a waiter look for a session to end.
func (w *waiter) look() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// lacks is the limit that is in a waiter's way, unless a session is being ended for it
// already.
func (g *Gate) lacks(w *waiter) limit {
	limits := g.limits()
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.way != noLimit {
		return noLimit
	}
	return g.reached(&limits, w.pass)
}

// ends notes that a session is about to be ended for a waiter.
func (g *Gate) ends(w *waiter, way limit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.way = way
}

// leave gives a connection's place back.
func (p *pass) leave() {
	if p == nil {
		return
	}
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	p.gate.count(p, -1)
	p.gate.admit()
}

// Wake has those who wait looked at again, since the limits have changed.
func (g *Gate) Wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p := range g.passes {
		g.countGroups(p, true)
	}
	g.groups.forget(time.Now())
	g.admit()
	for _, w := range g.waiting {
		w.look()
	}
}

// rest and resume say that a connection is kept unused, and that it is taken up
// again: by the site given, which it counts for from then on.
func (p *pass) rest() {
	if p == nil {
		return
	}
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	p.gate.tally(p.host, 0, 1)
	p.gate.offer(p)
}

func (p *pass) resume(site string) {
	if p == nil {
		return
	}
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tally(p.host, 0, -1)
	g.move(p, site)
}

// offer tells the first attempt that waits for room, and has been given nothing yet,
// about an unused connection that takes up the missing room. The caller holds g.mu.
func (g *Gate) offer(p *pass) {
	if len(g.waiting) == 0 {
		return
	}
	limits := g.limits()
	for _, w := range g.waiting {
		if w.way == noLimit && p.counts(g.reached(&limits, w.pass), w.pass) {
			w.look()
			return
		}
	}
}

// hand hands a session that has been used to the first who waits for one like it.
func (g *Gate) hand(s *Session) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.waiting {
		if w.key == s.key {
			g.waiting = slices.Delete(g.waiting, i, i+1)
			g.move(s.pass, w.pass.site)
			w.sess = s
			close(w.done)
			return true
		}
	}
	return false
}
