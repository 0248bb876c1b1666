package session

import (
	"context"
	"time"
)

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
