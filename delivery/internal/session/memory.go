package session

import (
	"net/netip"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// LeftAlone is for how long an address is left alone that failed so many times
// in a row. The times are short: they spare the next message the wait for a dead
// host's timeout, they do not decide when mail is retried.
//
//	failure   left alone for
//	1st       15 s
//	2nd       30 s
//	3rd        1 m
//	4th        2 m
//	5th on     5 m
func LeftAlone(failures int) time.Duration {
	table := [...]time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute}
	return table[min(failures, len(table))-1]
}

// maxRemembered bounds the memory; past it the entries that have run out go,
// then any.
const maxRemembered = 4096

// Memory is what is remembered about addresses (MX-23). The zero value is ready to use.
type Memory struct {
	mu     sync.Mutex
	failed map[netip.AddrPort]*penalty
	lacks  map[netip.AddrPort]lack
}

type penalty struct {
	failures int
	until    time.Time
	failure  any
	probing  bool
}

// Penalised reports whether an address is left alone: it failed a moment ago, or a
// caller is finding out whether it still does.
func (m *Memory) Penalised(addr netip.AddrPort, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.failed[addr]
	return p != nil && (p.probing || !age.Past(p.until, now))
}

// Failure returns the last failure of an address, as passed to Fail; nil if there is
// none.
func (m *Memory) Failure(addr netip.AddrPort) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.failed[addr]; p != nil {
		return p.failure
	}
	return nil
}

// Ask says whether an address may be dialled. One that failed may be dialled again when
// its time is over, or at once if anyway is set because there is no better one. Only
// one caller may do so, who has the right to probe it until it fails, succeeds, or the
// probe is dropped. So if a host takes half a minute to fail, only that caller waits
// for it, and not every message that comes meanwhile.
func (m *Memory) Ask(addr netip.AddrPort, anyway bool, now time.Time) (ok, probe bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.failed[addr]
	switch {
	case p == nil:
		return true, false
	case p.probing, !age.Past(p.until, now) && !anyway:
		return false, false
	}
	p.probing = true
	return true, true
}

// DropProbe gives the right back without a finding.
func (m *Memory) DropProbe(addr netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.failed[addr]; p != nil {
		p.probing = false
	}
}

// Fail remembers a failure of the address itself, in whatever form the caller
// wants to have it back.
func (m *Memory) Fail(addr netip.AddrPort, failure any, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.failed[addr]
	if p == nil {
		if m.failed == nil {
			m.failed = make(map[netip.AddrPort]*penalty)
		}
		if len(m.failed) >= maxRemembered {
			m.forget(now)
		}
		p = &penalty{}
		m.failed[addr] = p
	}
	// Failures that overlap are one: the sessions of one outage must not climb
	// the table together.
	if p.probing || age.Past(p.until, now) {
		p.failures++
		p.until = now.Add(LeftAlone(p.failures))
	}
	p.failure, p.probing = failure, false
}

// Succeed forgets the failures of an address.
func (m *Memory) Succeed(addr netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.failed, addr)
}

// Clear forgets the failures of every address.
func (m *Memory) Clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.failed)
}

// forget makes room: it forgets an expired entry, or else any one.
func (m *Memory) forget(now time.Time) {
	for a, p := range m.failed {
		if age.Between(p.until, now) > 0 && !p.probing {
			delete(m.failed, a)
		}
	}
	for a := range m.failed {
		if len(m.failed) < maxRemembered {
			return
		}
		delete(m.failed, a)
	}
}

// suspectedFor is how long a suspicion waits for the next attempt: longer than the
// schedule's longest delay.
const suspectedFor = 24 * time.Hour

// lack is what an address is known, or suspected, not to be able to do.
type lack struct {
	known smtp.Option
	until time.Time

	suspected smtp.Option
	brief     smtp.Option // those of them that must not be remembered after the attempt
	since     time.Time
}

// at is the lack at a time.
func (l lack) at(now time.Time) lack {
	if age.Past(l.until, now) {
		l.known = 0
	}
	if age.Between(l.since, now) >= suspectedFor {
		l.suspected, l.brief = 0, 0
	}
	return l
}
