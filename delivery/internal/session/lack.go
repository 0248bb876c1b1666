package session

import (
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// knownFor is how long an address is known not to be able to do something, where
// nobody requires it. After that it is tried again.
const knownFor = time.Hour

// Without is what is to be left out at an address: what is known not to work
// there, and what may have been the cause of the last failure.
func (m *Memory) Without(addr netip.AddrPort, now time.Time) smtp.Option {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lacks[addr].at(now)
	return l.known | l.suspected
}

// Lacks remembers what an address was shown not to be able to do, for an hour. What
// is known already is not known for longer by it.
func (m *Memory) Lacks(addr netip.AddrPort, o smtp.Option, now time.Time) {
	m.change(addr, now, func(l *lack) {
		if l.known == 0 {
			l.until = now.Add(knownFor)
		}
		l.known |= o
	})
}

// Suspect remembers what the next attempt at an address is to leave out.
func (m *Memory) Suspect(addr netip.AddrPort, d smtp.Doubt, now time.Time) {
	m.change(addr, now, func(l *lack) {
		l.suspected |= d.Next &^ l.known
		l.brief = l.brief&^d.Next | d.Brief&d.Next
		l.since = now
	})
}

// Confirm says that all was well without what is given: where it was suspected it
// is known now, but for what is not to be remembered.
func (m *Memory) Confirm(addr netip.AddrPort, without smtp.Option, now time.Time) {
	m.change(addr, now, func(l *lack) {
		if l.known == 0 {
			l.until = now.Add(knownFor)
		}
		l.known |= l.suspected & without &^ l.brief
		l.suspected &^= without
	})
}

// Acquit says that the same failed without what is given: where it was suspected,
// it was not that.
func (m *Memory) Acquit(addr netip.AddrPort, without smtp.Option, now time.Time) {
	m.change(addr, now, func(l *lack) { l.suspected &^= without })
}

// change changes what is remembered of an address. Past maxRemembered what has run
// out goes, then all: each costs one more failure to be found again.
func (m *Memory) change(addr netip.AddrPort, now time.Time, f func(*lack)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, found := m.lacks[addr]
	l := before.at(now)
	f(&l)
	switch {
	case l.known|l.suspected == 0:
		delete(m.lacks, addr)
		return
	case m.lacks == nil:
		m.lacks = make(map[netip.AddrPort]lack)
	case !found && len(m.lacks) >= maxRemembered:
		for a, other := range m.lacks {
			if other = other.at(now); other.known|other.suspected == 0 {
				delete(m.lacks, a)
			}
		}
		if len(m.lacks) >= maxRemembered {
			clear(m.lacks)
		}
	}
	m.lacks[addr] = l
}
