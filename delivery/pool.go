package delivery

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// sessionKey says which messages a kept session may serve: same host, address,
// source and TLS, under the same policy. What one domain's policy made is never
// used for another's (requirement SMTP-43).
type sessionKey struct {
	host       string
	addr       netip.AddrPort
	source     netip.Addr
	level      mx.TLSLevel
	serverName string
	policy     string
}

// session is one SMTP session ready for mail, with what the Sender knows of it.
type session struct {
	*smtp.Session
	key        sessionKey
	protection Protection
	expires    time.Time // its policy's; zero is never
	reused     bool

	timer  *time.Timer // ends it when idle too long
	traces traces      // of the call that uses it now
}

const (
	defaultMaxIdle     = 64
	defaultIdleTimeout = 30 * time.Second
	maxIdlePerKey      = 8
)

// pool keeps sessions between calls. Its zero value is ready. It ends a session
// in a goroutine of its own, which close waits for; nothing else runs.
type pool struct {
	mu     sync.Mutex
	idle   map[sessionKey][]*session
	count  int
	closed bool
	ending sync.WaitGroup
}

// take returns a kept session for key that still answers, or nil.
func (p *pool) take(key sessionKey, now time.Time) *session {
	for {
		s := p.pop(key)
		if s == nil {
			return nil
		}
		if !s.expires.IsZero() && !now.Before(s.expires) {
			p.end(s)
			continue
		}
		// A 421 or an end of file that waits there is seen before anything is sent.
		if s.Check() != nil {
			s.Close()
			continue
		}
		s.reused = true
		return s
	}
}

// pop takes the session used last, which the host is least likely to have
// given up on.
func (p *pool) pop(key sessionKey) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[key]
	if len(list) == 0 {
		return nil
	}
	s := list[len(list)-1]
	p.drop(key, list, len(list)-1)
	return s
}

// drop takes the i-th session out of the list of its key.
func (p *pool) drop(key sessionKey, list []*session, i int) {
	s := list[i]
	s.timer.Stop()
	copy(list[i:], list[i+1:])
	list[len(list)-1] = nil
	if len(list) == 1 {
		delete(p.idle, key)
	} else {
		p.idle[key] = list[:len(list)-1]
	}
	p.count--
}

// keep puts a session back, or ends it where it is of no more use.
func (p *pool) keep(s *session, maxIdle int, timeout time.Duration) {
	s.traces = traces{}
	if maxIdle == 0 {
		maxIdle = defaultMaxIdle
	}
	if timeout <= 0 {
		timeout = defaultIdleTimeout
	}
	if !s.Reusable() || !p.add(s, maxIdle, timeout) {
		p.end(s)
	}
}

func (p *pool) add(s *session, maxIdle int, timeout time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.count >= maxIdle || len(p.idle[s.key]) >= maxIdlePerKey {
		return false
	}
	if p.idle == nil {
		p.idle = make(map[sessionKey][]*session)
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(timeout, func() { p.expire(s) })
	} else {
		s.timer.Reset(timeout)
	}
	p.idle[s.key] = append(p.idle[s.key], s)
	p.count++
	return true
}

// expire ends a session nobody took up in time. One that was taken up between
// the timer and the lock is not in the list any more.
func (p *pool) expire(s *session) {
	p.mu.Lock()
	list := p.idle[s.key]
	for i := range list {
		if list[i] == s {
			p.drop(s.key, list, i)
			p.mu.Unlock()
			p.end(s)
			return
		}
	}
	p.mu.Unlock()
}

// end says QUIT without holding up the caller.
func (p *pool) end(s *session) {
	p.ending.Go(func() { s.Quit(context.Background()) })
}

// close ends all kept sessions and waits for every QUIT under way.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for key, list := range p.idle {
		for _, s := range list {
			s.timer.Stop()
			p.end(s)
		}
		delete(p.idle, key)
	}
	p.count = 0
	p.mu.Unlock()
	p.ending.Wait()
}
