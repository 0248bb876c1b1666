package session

import (
	"context"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// Pool makes sessions and keeps them between messages. Set Config before the first
// use; its zero value is ready.
type Pool struct {
	Config

	// Memory is what is remembered about addresses.
	Memory Memory

	idle    idle
	tickets tickets
}

// Kept returns a kept session, or nil if none is suitable.
func (p *Pool) Kept(h *Hop, o Observer) *Session {
	kept := p.before(h)
	if kept == nil || !p.takeUp(kept, h, o) {
		return nil
	}
	return kept
}

func (p *Pool) before(h *Hop) *Session {
	return p.idle.take(h.key(), h.Site, time.Now())
}

// takeUp makes a session from before ready for the next message. It ends one that the
// message's policy does not accept, though its key is the same.
func (p *Pool) takeUp(s *Session, h *Hop, o Observer) bool {
	if !p.judgeAgain(s, h) {
		h.Judged = Judgement{}
		p.idle.end(s)
		return false
	}
	s.DoWithout(h.Without)
	s.follow(h, o)
	o.Reused(h.Host.Name, h.Addr)
	return true
}

// Keep takes a session back that has carried a message, or tried to. One that is
// of no more use is ended.
func (p *Pool) Keep(s *Session) { p.idle.keep(s, p.MaxIdle, p.IdleTimeout) }

// Abandon closes a session that was left in the middle of a dialogue.
func (p *Pool) Abandon(s *Session) {
	s.Close()
	s.pass.leave()
}

// Close ends the kept sessions with QUIT and waits for them, at most for the QUIT
// timeout. A closed pool keeps no sessions.
func (p *Pool) Close() { p.CloseBy(context.Background()) }

// CloseBy does so, and waits no longer than until ctx ends.
func (p *Pool) CloseBy(ctx context.Context) {
	p.Shut()
	p.idle.wait(ctx)
}

// Shut does so without waiting.
func (p *Pool) Shut() { p.idle.shut() }

// Reopen has a closed pool keep sessions again.
func (p *Pool) Reopen() {
	p.idle.mu.Lock()
	defer p.idle.mu.Unlock()
	p.idle.closed = false
}

// Reachable reports whether some address of a host is not left alone.
func (p *Pool) Reachable(host *mx.Host, now time.Time) bool {
	for _, ip := range host.Addrs {
		if !p.Memory.Penalised(p.AddrPort(host, ip), now) {
			return true
		}
	}
	return false
}
