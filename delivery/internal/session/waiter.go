package session

import (
	"context"
	"slices"
	"time"
)

// waiter is a call that waits at a gate for the right to a connection, or for a
// session that will do.
type waiter struct {
	pass   *pass
	key    key
	signal chan struct{} // there may be a session to end
	done   chan struct{} // closed when it waits no longer
	way    limit         // that a session is being ended for on its behalf
	sess   *Session      // what it was given, where that is no place
}

// join takes a place, or waits for one; nil where it has it.
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

// offer tells the first who waits for room and has nothing coming of a connection that
// is kept unused and that takes up what is missing. The caller holds g.mu.
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

// withdraw ends a wait; false where it has come to its end already.
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

// enter waits at the hop's gate for the right to a connection, or for a kept session
// that will do, whichever comes first. While a limit is reached it ends a kept session
// that stands in the way.
func (p *Pool) enter(ctx context.Context, h *Hop, want *pass, o Observer) (*Session, error) {
	for {
		w := want.gate.join(want, h.key())
		if w == nil {
			return nil, nil
		}
		if other := p.before(h); other != nil {
			p.dismiss(w)
			p.takeUp(other, h, o)
			return other, nil
		}
		if err := p.await(ctx, w); err != nil {
			p.dismiss(w)
			return nil, err
		}
		if w.sess == nil {
			return nil, nil
		}
		if p.idle.answers(w.sess, time.Now()) {
			p.takeUp(w.sess, h, o)
			return w.sess, nil
		}
	}
}

// await waits until a waiter has something.
func (p *Pool) await(ctx context.Context, w *waiter) error {
	g := w.pass.gate
	for {
		if way := g.lacks(w); way != noLimit {
			if s := p.idle.oldest(func(p *pass) bool { return p.counts(way, w.pass) }); s != nil {
				g.ends(w, way)
				p.idle.end(s)
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.done:
			return nil
		case <-w.signal:
		}
	}
}

// dismiss ends a wait, and gives back what it has come to meanwhile.
func (p *Pool) dismiss(w *waiter) {
	switch {
	case w.pass.gate.withdraw(w):
	case w.sess != nil:
		p.Keep(w.sess)
	default:
		w.pass.leave()
	}
}
