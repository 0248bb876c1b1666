package session

import (
	"crypto/tls"
	"net/netip"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// key identifies the messages for which a kept session may be used: same host, address,
// source and TLS, under the same policy and login. A session made under one domain's
// policy is never used for another's (requirement SMTP-43). Its size is at most 128
// octets: a map stores a larger key separately, with an allocation each time a session
// is kept. The pointers are compared, and keep their targets alive.
type key struct {
	host       string
	addr       netip.Addr
	source     netip.Addr
	port       uint16
	minVersion uint16
	level      mx.TLSLevel
	helo       bool // it was opened without EHLO
	implicit   bool // it was opened with TLS
	named      bool // the operator has named the host, which may have a name of ours
	serverName string
	policy     string
	login      mx.Login         // a *smarthost.Login, its certificate with it; or nil
	shown      *tls.Certificate // that of the policy; nil if there is none
}

// Session is one SMTP session ready for mail, with what is known about it.
type Session struct {
	*smtp.Session

	// Protection is what its TLS is worth, Addr where it leads, Reused whether it was
	// kept from before, and Began what it has left out since its beginning.
	Protection Protection
	Addr       string
	Reused     bool
	Began      smtp.Option

	key      key
	local    netip.AddrPort
	basis    string    // the basis of its judgement
	domain   string    // for whose mail
	helo     string    // what the host calls itself before TLS
	shown    Handshake // and its properties
	judged   Judgement
	checked  bool      // the certificate has passed the usual check of the level
	expires  time.Time // its policy's; zero is never
	born     time.Time
	messages int   // carried, or tried
	pass     *pass // its place among an agent's connections; may be nil

	timer  *time.Timer   // ends it when unused too long
	rests  time.Duration // for how long it may be unused
	unused time.Time     // since when it was last kept
	below  *Session      // kept before it, under the same key
}

// Gate keeps an agent's connections to its limits: those in use and those kept for the
// next message. If an unused connection takes up the room for a new one, it is ended.
// Attempts get a place in the order in which they wait, except that one is passed over
// while a limit applies to it that does not apply to later ones.
type Gate struct {
	limits func() Limits

	mu      sync.Mutex
	total   int
	sites   map[string]int
	hosts   map[string]tally
	addrs   map[netip.Addr]int
	groups  groups
	passes  map[*pass]bool
	waiting []*waiter // in order
}

// tally is how many connections a host has, and how many of them are kept
// unused.
type tally struct{ open, idle int }

// pass is the right to one connection. A nil pass is not counted.
type pass struct {
	gate *Gate
	site string
	host string
	addr netip.Addr

	groups []string // that it is counted in
}

// limit is one of those that connections are counted against.
type limit uint8

const (
	noLimit limit = iota
	inTotal
	perAddress
	perHost
	perSite
	perGroup
)

// waiter is a call that waits at a gate for the right to a connection, or for a
// session that will do.
type waiter struct {
	pass   *pass
	key    key
	signal chan struct{} // there may be a session to end
	done   chan struct{} // closed when it waits no longer
	way    limit         // that a session is being ended for on its behalf
	sess   *Session      // the session it was given instead of a place
}
