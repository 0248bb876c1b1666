package session

import (
	"net/netip"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// key says which messages a kept session may serve: same host, address,
// source and TLS, under the same policy and login. What one domain's policy made is never
// used for another's (requirement SMTP-43). Its size is within 128 octets: a map
// keeps a larger key in memory of its own, allocated each time a session is kept.
type key struct {
	host       string
	addr       netip.AddrPort
	source     netip.Addr
	level      mx.TLSLevel
	helo       bool // it was opened without EHLO
	serverName string
	policy     string
	login      mx.Login // a *smarthost.Login, its certificate with it; or nil
}

// Session is one SMTP session ready for mail, with what is known of it.
type Session struct {
	*smtp.Session

	// Protection is what its TLS is worth, Addr where it leads, and Reused whether
	// it was kept from before.
	Protection Protection
	Addr       string
	Reused     bool

	key      key
	expires  time.Time // its policy's; zero is never
	born     time.Time
	messages int   // carried, or tried
	pass     *pass // its place among an agent's connections; may be nil

	timer  *time.Timer   // ends it when unused too long
	rests  time.Duration // for how long it may be unused
	unused time.Time     // since when it was last kept
	below  *Session      // kept before it, under the same key
}

// MostRecipients is how many recipients one transaction may have by the limits; zero
// leaves it to the host.
func (s *Session) MostRecipients() int {
	if s.pass == nil {
		return 0
	}
	l := s.pass.gate.limits()
	return l.at(s.pass.site, s.pass.host).Recipients
}

// spent reports whether a session is too old, or has carried enough, to carry
// more.
func (s *Session) spent(now time.Time) bool {
	return !s.expires.IsZero() && age.Past(s.expires, now) || s.pass.spent(s.born, s.messages, now)
}
