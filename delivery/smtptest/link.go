package smtptest

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

// Link is the link between the client and one address of a Network. The zero value is a
// perfect link.
type Link struct {
	// Latency is how long a segment takes in one direction. Connecting takes a round trip.
	Latency time.Duration

	// Loss is the share of segments that are lost, from 0 to 1. As in TCP, they are sent
	// again: after 200 ms for the first loss, and after twice as long for each further
	// one. A lost SYN is sent again after 1 s, then 2 s, then 4 s.
	Loss float64

	// Fault is what goes wrong when a client connects. Default: nothing.
	Fault Fault
}

// Fault is what goes wrong when a client connects.
type Fault uint8

// The faults. The errors are those of package net: a *net.OpError that wraps the system's
// error number.
const (
	NoFault       Fault = iota
	ConnRefused         // ECONNREFUSED
	Unreachable         // EHOSTUNREACH
	BlackHole           // no answer: the dial waits until its context ends
	ResetOnAccept       // the connection is made and reset at once
	NoPorts             // EADDRNOTAVAIL: no local port is free
	NoFiles             // EMFILE: too many open files
)

var faultNames = [...]string{"none", "refused", "unreachable", "black-hole", "reset-on-accept", "no-ports", "no-files"}

// String returns none, refused, unreachable, black-hole, reset-on-accept, no-ports or
// no-files.
func (f Fault) String() string { return enum.String("smtptest.Fault", faultNames[:], f) }

// MarshalText returns the text of String. It fails for a value without a name.
func (f Fault) MarshalText() ([]byte, error) { return enum.Marshal("smtptest.Fault", faultNames[:], f) }

// UnmarshalText reads the form that MarshalText writes, and no other.
func (f *Fault) UnmarshalText(text []byte) error {
	return enum.Unmarshal("smtptest.Fault", faultNames[:], f, text)
}

const (
	retransmission    = 200 * time.Millisecond
	synRetransmission = time.Second
	mostLosses        = 6 // of one segment, so that Loss 1 ends
)

// link is a Link in use.
type link struct {
	mu   sync.Mutex
	Link Link
	cut  bool
	rng  *rand.Rand
}

func newLink(l Link, seed uint64) *link {
	return &link{Link: l, rng: rand.New(rand.NewPCG(seed, 0))}
}

func (l *link) down() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

func (l *link) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
}

func (l *link) set(to Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Link = to
}

func (l *link) get() Link {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Link
}

func (l *link) latency() time.Duration { return l.get().Latency }

// arrival is when a segment sent now gets there.
func (l *link) arrival(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Add(l.Link.Latency + l.delay(retransmission))
}

// synDelay is what losses add to the time it takes to connect.
func (l *link) synDelay() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.delay(synRetransmission)
}

// delay draws the time lost to retransmissions. The caller holds mu.
func (l *link) delay(first time.Duration) time.Duration {
	var d time.Duration
	for range mostLosses {
		if l.Link.Loss <= 0 || l.rng.Float64() >= l.Link.Loss {
			break
		}
		d += first
		first *= 2
	}
	return d
}
