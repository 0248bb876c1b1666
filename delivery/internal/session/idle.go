package session

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
)

const (
	defaultMaxIdle     = 64
	defaultIdleTimeout = 30 * time.Second
	maxIdlePerKey      = 8
)

// idle keeps sessions between calls. The zero value is ready to use. It ends a session
// on a separate goroutine, which close waits for; it has no other goroutines.
type idle struct {
	mu     sync.Mutex
	stacks map[key]stack
	count  int
	closed bool
	ending map[*Session]ending // those that say QUIT
}

// take returns a kept session for a key that still answers, or nil. site is whom
// it counts for from now on, with an agent.
func (p *idle) take(k key, site string, now time.Time) *Session {
	for {
		s := p.pop(k)
		if s == nil {
			return nil
		}
		s.pass.resume(site)
		if age.Between(s.unused, now) >= s.rests {
			p.end(s) // the timer stood still while the machine slept
			continue
		}
		if p.answers(s, now) {
			return s
		}
	}
}

// answers reports whether a session from before is good for another message. One that
// is not is ended.
func (p *idle) answers(s *Session, now time.Time) bool {
	if s.spent(now) {
		p.end(s)
		return false
	}
	// A 421 or an end of file that waits there is seen before anything is sent.
	if s.Check() != nil {
		s.Close()
		s.pass.leave()
		return false
	}
	s.Reused = true
	return true
}

// stack are the kept sessions of one key, the one used last on top.
type stack struct {
	top    *Session
	height int
}

// pop takes the session used last, which the host is least likely to have
// given up on.
func (p *idle) pop(k key) *Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stacks[k].top
	if s != nil {
		p.remove(s)
	}
	return s
}

// remove removes a session from its stack; it returns false if it is not there any
// more.
func (p *idle) remove(s *Session) bool {
	st := p.stacks[s.key]
	link := &st.top
	for *link != s {
		if *link == nil {
			return false
		}
		link = &(*link).below
	}
	*link, s.below = s.below, nil
	st.height--
	if st.height == 0 {
		delete(p.stacks, s.key)
	} else {
		p.stacks[s.key] = st
	}
	p.count--
	s.timer.Stop()
	return true
}

// keep puts a session back, or ends it if it cannot be used again.
func (p *idle) keep(s *Session, maxIdle int, timeout time.Duration) {
	s.SetTrace(nil)
	s.Rest()
	perKey := maxIdlePerKey
	switch {
	case maxIdle < 0:
	case s.pass != nil:
		maxIdle, perKey = math.MaxInt, math.MaxInt // an agent's limits count kept ones, too
	case maxIdle == 0:
		maxIdle = defaultMaxIdle
	}
	if timeout <= 0 {
		timeout = defaultIdleTimeout
	}
	s.messages++
	now := time.Now()
	good := s.Reusable() && !s.spent(now)
	if good && maxIdle >= 0 && s.pass != nil && s.pass.gate.hand(s) {
		return
	}
	if !good || !p.add(s, now, maxIdle, perKey, timeout) {
		p.end(s)
	}
}

func (p *idle) add(s *Session, now time.Time, maxIdle, perKey int, timeout time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := p.stacks[s.key]
	if p.closed || p.count >= maxIdle || st.height >= perKey {
		return false
	}
	if p.stacks == nil {
		p.stacks = make(map[key]stack)
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(timeout, func() { p.expire(s) })
	} else {
		s.timer.Reset(timeout)
	}
	s.below, st.top = st.top, s
	st.height++
	p.stacks[s.key] = st
	p.count++
	s.unused, s.rests = now, timeout
	s.pass.rest()
	return true
}

// oldest removes and returns the kept session that has been unused longest among those
// whose place is wanted, or nil if there is none.
func (p *idle) oldest(wanted func(*pass) bool) *Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	var oldest *Session
	for _, st := range p.stacks {
		for s := st.top; s != nil; s = s.below {
			if s.pass != nil && wanted(s.pass) && (oldest == nil || s.unused.Before(oldest.unused)) {
				oldest = s
			}
		}
	}
	if oldest != nil {
		p.remove(oldest)
		oldest.pass.resume("")
	}
	return oldest
}

// expire ends a session that was not used in time. One that was taken between the timer
// and the lock is not in the list any more.
func (p *idle) expire(s *Session) {
	p.mu.Lock()
	kept := p.remove(s)
	p.mu.Unlock()
	if kept {
		s.pass.resume("")
		p.end(s)
	}
}

// ending is a session that says QUIT.
type ending struct {
	ended chan struct{} // closed when it has
	cut   func()        // has it wait no longer
}

// end says QUIT without holding up the caller.
func (p *idle) end(s *Session) {
	ctx, cut := context.WithCancel(context.Background())
	ended := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending == nil {
		p.ending = make(map[*Session]ending)
	}
	p.ending[s] = ending{ended, cut}
	go func() {
		defer cut()
		s.Quit(ctx)
		s.pass.leave()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.ending, s)
		close(ended)
	}()
}

// shut ends all kept sessions.
func (p *idle) shut() {
	for _, s := range p.empty() {
		s.pass.resume("")
		p.end(s)
	}
}

// wait waits for every QUIT that is under way, and cuts it off when ctx ends. Messages
// may still be sent meanwhile; it does not wait for theirs.
func (p *idle) wait(ctx context.Context) {
	p.mu.Lock()
	waiting := slices.Collect(maps.Values(p.ending))
	p.mu.Unlock()
	for _, e := range waiting {
		defer context.AfterFunc(ctx, e.cut)()
	}
	for _, e := range waiting {
		<-e.ended
	}
}

// empty takes out all kept sessions. No more are kept.
func (p *idle) empty() []*Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var kept []*Session
	for _, st := range p.stacks {
		for st.top != nil {
			s := st.top
			st.top, s.below = s.below, nil
			s.timer.Stop()
			kept = append(kept, s)
		}
	}
	p.stacks, p.count = nil, 0
	return kept
}
