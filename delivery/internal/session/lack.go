package session

import (
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// knownFor is how long it is remembered that an address cannot do something that is not
// required. After that it is tried again.
const knownFor = time.Hour

// Without returns the options to leave out at an address: those known not to work
// there, and those that may have caused the last failure.
func (m *Memory) Without(addr netip.AddrPort, now time.Time) smtp.Option {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lacks[addr].at(now)
	return l.known | l.suspected
}

// Lacks remembers for an hour that options do not work at an address. If that is known
// already, the time is not extended.
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

// Confirm says that an attempt without the given options succeeded: suspected ones are
// then known not to work, except those that must not be remembered.
func (m *Memory) Confirm(addr netip.AddrPort, without smtp.Option, now time.Time) {
	m.change(addr, now, func(l *lack) {
		if l.known == 0 {
			l.until = now.Add(knownFor)
		}
		l.known |= l.suspected & without &^ l.brief
		l.suspected &^= without
	})
}

// Acquit says that an attempt without the given options failed in the same way:
// suspected ones were not the cause.
func (m *Memory) Acquit(addr netip.AddrPort, without smtp.Option, now time.Time) {
	m.change(addr, now, func(l *lack) { l.suspected &^= without })
}

// change changes what is remembered about an address. Above maxRemembered, expired
// entries are forgotten, then all: each costs one more failure to be found again.
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
