package session

import (
	"container/list"
	"crypto/tls"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
	"github.com/nexthop-mail/nexthop/mx"
)

// maxTickets bounds the TLS sessions that are remembered. Past it the one that was used
// longest ago is forgotten. Each holds the host's certificates, some 10 KiB.
const maxTickets = 1024

const (
	// looksAnew is how long TLS is resumed after a whole handshake: a resumed session
	// shows the certificates of that, and not those that the host has now.
	looksAnew = 24 * time.Hour
	// notResumed is how long TLS with a host is not resumed after that has failed.
	notResumed = time.Hour
)

// identity has the requirements under which a TLS session was made. The session is
// resumed only under the same ones: what one policy has accepted is never used for
// another (requirement SMTP-43). The pointer is compared, and keeps its target alive.
type identity struct {
	host       string
	addr       netip.AddrPort
	level      mx.TLSLevel
	serverName string
	policy     string // Policy.Key
	minVersion uint16
	shown      *tls.Certificate // our own; nil if there is none
}

// tickets are TLS sessions that can be resumed. The zero value is ready.
type tickets struct {
	mu    sync.Mutex
	known map[identity]*list.Element
	order list.List // of *ticket, the latest first
}

// ticket is what is remembered for an identity.
type ticket struct {
	of    identity
	state *tls.ClientSessionState // nil if there is none
	since time.Time               // of the whole handshake that it comes from
	until time.Time               // it is not resumed until then
}

// get returns the session to resume and the time of the whole handshake that it comes
// from, or nil if there is none.
func (t *tickets) get(of identity, now time.Time) (*tls.ClientSessionState, time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.known[of]
	if e == nil {
		return nil, time.Time{}
	}
	t.order.MoveToFront(e)
	k := e.Value.(*ticket)
	if !age.Past(k.until, now) || age.Between(k.since, now) >= looksAnew {
		return nil, time.Time{}
	}
	return k.state, k.since
}

// put remembers a session that comes from a whole handshake at the given time; nil
// forgets it.
func (t *tickets) put(of identity, state *tls.ClientSessionState, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known[of] == nil && state == nil {
		return
	}
	k := t.at(of)
	k.state, k.since = state, since
}

// refuse prevents resumption for some time.
func (t *tickets) refuse(of identity, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.at(of)
	k.state, k.until = nil, now.Add(notResumed)
}

// at returns the ticket of an identity, and makes it if there is none. The caller holds
// t.mu.
func (t *tickets) at(of identity) *ticket {
	if e := t.known[of]; e != nil {
		t.order.MoveToFront(e)
		return e.Value.(*ticket)
	}
	if t.known == nil {
		t.known = make(map[identity]*list.Element)
	}
	for len(t.known) >= maxTickets {
		last := t.order.Back()
		delete(t.known, last.Value.(*ticket).of)
		t.order.Remove(last)
	}
	k := &ticket{of: of}
	t.known[of] = t.order.PushFront(k)
	return k
}

// resumption is what one connection has to do with tickets: a tls.ClientSessionCache.
type resumption struct {
	*tickets
	of      identity
	since   time.Time // of the whole handshake behind what the host offers
	offered bool      // a session was offered to the host
	whole   bool      // the host has made a whole handshake
}

// Get is the session to offer. The name or address that package tls gives says too little.
func (r *resumption) Get(string) (*tls.ClientSessionState, bool) {
	state, since := r.get(r.of, time.Now())
	r.since, r.offered = since, state != nil
	return state, r.offered
}

// Put remembers a session that the host offers, which may be later.
func (r *resumption) Put(_ string, state *tls.ClientSessionState) {
	r.put(r.of, state, r.since)
}

// errNotResumed is a connection that may have failed because of a ticket.
var errNotResumed = errors.New("TLS was not resumed")
