package delivery

import (
	"net/netip"
	"sync"
	"time"
)

// An address that failed is left alone for a while, longer each time it fails
// again. The times are short: they spare the next message the wait for a dead
// host's timeout, they do not decide when mail is retried.
//
//	failure   left alone for
//	1st       15 s
//	2nd       30 s
//	3rd        1 m
//	4th        2 m
//	5th on     5 m
func penaltyFor(failures int) time.Duration {
	table := [...]time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute}
	return table[min(failures, len(table))-1]
}

// brokenFor is how long an address is known not to be able to do TLS, where
// nobody requires it, or BDAT.
const brokenFor = time.Hour

// maxRemembered bounds the memory; past it the entries that have run out go,
// then any.
const maxRemembered = 4096

// hostMemory is what a Sender remembers of addresses (MX-23). Its zero value is
// ready.
type hostMemory struct {
	mu       sync.Mutex
	failed   map[netip.AddrPort]*penalty
	tls      broken
	chunking broken
}

// broken are addresses at which something does not work, each until a time.
type broken map[netip.AddrPort]time.Time

type penalty struct {
	failures int
	until    time.Time
	err      *Error
	probing  bool
}

// penalised reports whether an address is left alone: it failed a moment ago,
// or somebody is finding out whether it still does.
func (m *hostMemory) penalised(addr netip.AddrPort, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.failed[addr]
	return p != nil && (p.probing || now.Before(p.until))
}

// failure is the last failure of an address, or nil.
func (m *hostMemory) failure(addr netip.AddrPort) *Error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.failed[addr]; p != nil {
		return p.err
	}
	return nil
}

// ask says whether an address may be dialled. One that failed may be again when
// its time is over, or at once where anyway is set because there is no better
// one: by one caller only, who has the right to probe it until it fails,
// succeeds, or the probe is dropped. So a host that takes half a minute to fail
// costs that once, and not every message that comes meanwhile.
func (m *hostMemory) ask(addr netip.AddrPort, anyway bool, now time.Time) (ok, probe bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.failed[addr]
	switch {
	case p == nil:
		return true, false
	case p.probing, now.Before(p.until) && !anyway:
		return false, false
	}
	p.probing = true
	return true, true
}

// dropProbe gives the right back without a finding.
func (m *hostMemory) dropProbe(addr netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.failed[addr]; p != nil {
		p.probing = false
	}
}

// fail remembers a failure of the address itself.
func (m *hostMemory) fail(addr netip.AddrPort, err *Error, now time.Time) {
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
	if p.probing || !now.Before(p.until) {
		p.failures++
		p.until = now.Add(penaltyFor(p.failures))
	}
	p.err, p.probing = err, false
}

// succeed forgets the failures of an address.
func (m *hostMemory) succeed(addr netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.failed, addr)
}

// clear forgets the failures of every address.
func (m *hostMemory) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.failed)
}

// forget makes room: what has run out first, else any one.
func (m *hostMemory) forget(now time.Time) {
	for a, p := range m.failed {
		if now.After(p.until) && !p.probing {
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

// add remembers an address. Too many to remember are forgotten all at once: each
// costs one more failure to be found again.
func (b *broken) add(addr netip.AddrPort, now time.Time) {
	if *b == nil || len(*b) >= maxRemembered {
		*b = make(broken)
	}
	(*b)[addr] = now.Add(brokenFor)
}

func (b broken) has(addr netip.AddrPort, now time.Time) bool {
	until, found := b[addr]
	return found && now.Before(until)
}

// breakTLS and breakChunking remember what does not work at an address.
func (m *hostMemory) breakTLS(addr netip.AddrPort, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tls.add(addr, now)
}

func (m *hostMemory) breakChunking(addr netip.AddrPort, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.chunking.add(addr, now)
}

// doesNotWork is what is known not to work at an address.
func (m *hostMemory) doesNotWork(addr netip.AddrPort, now time.Time) (tls, chunking bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tls.has(addr, now), m.chunking.has(addr, now)
}
