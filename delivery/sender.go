package delivery

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/content"
	"github.com/nexthop-mail/nexthop/internal/enum"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// Sender makes single delivery attempts. Its zero value sends by MX through the
// system's resolvers with opportunistic TLS. Set the fields before the first
// use and leave them alone afterwards; then it is safe for concurrent use.
type Sender struct {
	// Hello is the name given in EHLO, which should have an address record
	// (RFC 5321 section 4.1.1.1). Default: the address literal of each
	// connection's local end.
	Hello string

	// Resolver answers DNS questions. Default: the system's resolvers behind a
	// cache. It is not used if Router is set.
	Resolver mx.Resolver

	// Router finds the next hops. Default: by MX records through Resolver, with this
	// Sender's Self, SelfAddrs, Relay, AllowLoopback, RefusePrivate, Family and
	// DeferNoSuchDomain. With a Router only Self is used, for the greetings of hosts.
	// Validate reports the others, and names in Self that the mx.Router of ByMX or of a
	// smarthost.Table does not know.
	Router Router

	// Self are the names under which this host stands in MX records. They and
	// everything of equal or higher preference are left out (RFC 5321
	// section 5.1). A program that only sends needs none.
	Self []string

	// SelfAddrs are the addresses under which others reach this host and that its
	// interfaces do not show, such as the outside of a NAT.
	SelfAddrs []netip.Addr

	// Relay is whether this program passes on the mail of others, as a secondary MX
	// does. Then the addresses of this machine's interfaces are its own, too.
	Relay bool

	// AllowLoopback lets MX hosts have loopback addresses. Without it such a
	// host is never dialled.
	AllowLoopback bool

	// RefusePrivate keeps MX hosts from having addresses of private and other
	// special networks: for programs whose users choose the domains.
	RefusePrivate bool

	// DeferNoSuchDomain defers mail to domains that do not exist. Without it such
	// mail fails at once.
	DeferNoSuchDomain bool

	// Family limits the addresses used. Default: both families.
	Family mx.Family

	// Port is the TCP port of hosts whose route names none. Default: 25, and 465 for
	// hosts with TLS from the start.
	Port uint16

	// TLS is the level for hosts whose route names none. Default: TLSMay.
	TLS mx.TLSLevel

	// TLSConfig is the base of every TLS configuration (roots, versions). Default:
	// Go's defaults with TLS 1.2 at least. ServerName, the check against the roots
	// and certificates of ours are set per host. Its VerifyPeerCertificate and
	// VerifyConnection are called whenever TLS is used, at every level; a host they
	// refuse is left out of the attempt for now and gets no mail, not even in clear.
	// They are not called for hosts without TLS.
	//
	// TLS sessions are resumed, where the same is demanded of the host as before, and all
	// checks are made again: VerifyPeerCertificate is called then, too, with the chains
	// of before. Up to 1,024 are remembered, for a day at most. ClientSessionCache is
	// not used: it goes by names, and would let one policy's session serve another.
	// SessionTicketsDisabled has none resumed.
	TLSConfig *tls.Config

	// Policy decides the TLS a host must give beyond TLS. It may be nil.
	Policy PolicySource

	// Content says how to treat content that is not in canonical form.
	Content ContentPolicy

	// Convert says which 8-bit content is encoded as quoted-printable or base64 for
	// hosts without 8BITMIME. Other 8-bit content goes to another host of the route,
	// or fails with the status 5.6.3.
	Convert Conversion

	// Judge replaces the verdict table. Default: the package's Judge.
	Judge func(stage Stage, code int, enhanced string) Verdict

	// Dial replaces the TCP dialler. Default: net.Dialer with Source.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Source are local addresses to send from: any number per family, of which
	// each message uses the same one at every attempt. Default: the system's choice.
	// Not used with Dial.
	Source []netip.Addr

	// ConnectTimeout bounds one connection attempt. Default: 30 s. Timeouts bound
	// the steps of the dialogue.
	ConnectTimeout time.Duration
	Timeouts       Timeouts

	// MaxConnections bounds the connections tried per destination in one
	// attempt. Default: 32; 1 counts as 2, since RFC 5321 section 5.1 wants at least
	// two addresses tried.
	MaxConnections int

	// MaxSessions bounds the sessions per destination that reach MAIL in one
	// attempt, so that a recipient refused for now is not offered to every
	// host in the world. Default: 5.
	MaxSessions int

	// MaxDestinations bounds the destinations of one message that are
	// attempted at the same time. Default: 8.
	MaxDestinations int

	// MaxIdle bounds the sessions kept open between calls. Default: 64. If negative,
	// none is kept. IdleTimeout is how long one is kept unused. Default: 30 s, short
	// of the five minutes a server must wait (RFC 5321 section 4.5.3.2.7).
	MaxIdle     int
	IdleTimeout time.Duration

	// Trace are hooks called for every message.
	Trace *Trace

	once     sync.Once
	router   Router
	broken   error // why there is no router
	sessions session.Pool
	attempts attempt.Config
	untraced traces // of calls that no hook is told of
}

// Trace is a set of hooks into what a Sender does, in the manner of
// net/http/httptrace. Any may be nil. They are called in order for one
// destination, concurrently for several, and hold the delivery up for as long
// as they run. None sees a secret.
type Trace struct {
	// Route is called when the route of a destination is known, or is not.
	Route func(domain string, route mx.Route, err error)
	// Connect is called before an address is dialled.
	Connect func(host string, addr netip.AddrPort)
	// Connected is called when dialling ended.
	Connected func(host string, addr netip.AddrPort, err error)
	// Decided is called when the PolicySource has decided about a new connection, and
	// about a host that it keeps from being connected to.
	Decided func(d *Decision)
	// Secured is called when a session is ready for mail, with what its TLS is
	// worth.
	Secured func(host string, addr netip.AddrPort, p Protection)
	// Reused is called when a kept session is taken up again.
	Reused func(host string, addr netip.AddrPort)
	// Line is called for each line of the dialogue; content is summed up in
	// one line, secrets are left out, control characters are escaped.
	Line func(host string, addr netip.AddrPort, l Line)
	// Attempt is called for each step of the walk that ended, with the
	// recipients it was about.
	Attempt func(domain string, recipients []string, a Attempt)
}

// Line is one line of an SMTP dialogue.
type Line struct {
	Sent bool // by us; else received
	Text string
}

// traces are the hooks that apply to one call.
type traces struct {
	list  [2]*Trace
	guard func(hook func()) bool // nil calls them as they are
	quiet bool                   // decisions are not told
}

// ContentPolicy says what a Sender does with content that is not canonical mail.
type ContentPolicy uint8

// The content policies.
const (
	// ContentOriginate is for programs that send their own mail: bare LF and bare CR
	// become CRLF, NUL and lines over 998 octets are refused.
	ContentOriginate ContentPolicy = iota
	// ContentRelay is for mail that came from elsewhere: it is passed on unchanged or
	// not at all (RFC 5321 section 6.4).
	ContentRelay
)

var contentNames = [...]string{"originate", "relay"}

// String is originate or relay.
func (p ContentPolicy) String() string {
	return enum.String("delivery.ContentPolicy", contentNames[:], p)
}

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (p ContentPolicy) MarshalText() ([]byte, error) {
	return enum.Marshal("delivery.ContentPolicy", contentNames[:], p)
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (p *ContentPolicy) UnmarshalText(text []byte) error {
	return enum.Unmarshal("delivery.ContentPolicy", contentNames[:], p, text)
}

func (p ContentPolicy) policy() content.Policy {
	if p == ContentRelay {
		return content.Relay
	}
	return content.Origin
}

// Timeouts bound the steps of a dialogue, each by itself: a long message is
// never cut off by a limit on the whole. A zero field is its default, which is
// what RFC 5321 section 4.5.3.2 asks for at least.
type Timeouts struct {
	Greeting time.Duration // the banner; default 5 min
	Hello    time.Duration // EHLO and HELO; default 5 min
	StartTLS time.Duration // STARTTLS and the handshake; default 5 min
	Auth     time.Duration // each step of AUTH; default 5 min
	Mail     time.Duration // default 5 min
	Rcpt     time.Duration // each; default 5 min
	Data     time.Duration // until 354; default 2 min
	Write    time.Duration // each block of content; default 3 min
	Final    time.Duration // after the final dot; default 10 min
	Reset    time.Duration // default 5 min
	Quit     time.Duration // default 10 s

	// Backstop ends a transaction that takes longer than all of its steps may by
	// the times above, the content at 256 octets a second, and this together. So
	// nothing that is in time by itself is cut off, and content that trickles is.
	// Default 4 h.
	Backstop time.Duration
}

// AtMost is t with no wait for a reply longer than d. Those that are shorter by
// themselves stay, and so do Write and Backstop, which are no such waits.
func (t Timeouts) AtMost(d time.Duration) Timeouts {
	full := t.dialogue().WithDefaults()
	limit := func(field *time.Duration, usual time.Duration) {
		*field = min(usual, d)
	}
	limit(&t.Greeting, full.Greeting)
	limit(&t.Hello, full.Hello)
	limit(&t.StartTLS, full.StartTLS)
	limit(&t.Auth, full.Auth)
	limit(&t.Mail, full.Mail)
	limit(&t.Rcpt, full.Rcpt)
	limit(&t.Data, full.Data)
	limit(&t.Final, full.Final)
	limit(&t.Reset, full.Reset)
	limit(&t.Quit, full.Quit)
	return t
}

// dialogue is the timeouts as package smtp has them.
func (t Timeouts) dialogue() smtp.Timeouts {
	return smtp.Timeouts{
		Greeting: t.Greeting, Hello: t.Hello, StartTLS: t.StartTLS,
		Auth: t.Auth, Mail: t.Mail, Rcpt: t.Rcpt, Data: t.Data, Write: t.Write,
		Final: t.Final, Reset: t.Reset, Quit: t.Quit, Backstop: t.Backstop,
	}
}

// Conversion says which 8-bit content a Sender encodes for hosts that take 7 bits
// only (RFC 6152 section 3). What is decoded at the other end is the same; the
// structure of the message and everything that is 7-bit stay octet for octet.
// Content is never converted if it has 8-bit octets in a header, beside the parts of
// a multipart, or in a part that is signed, encrypted, or may not be encoded.
type Conversion uint8

// The conversions.
const (
	// ConvertUnsigned is every message but those with a DKIM-Signature or ARC-Seal
	// field, whose signatures it would break.
	ConvertUnsigned Conversion = iota
	// ConvertSigned is those, too.
	ConvertSigned
	// ConvertNothing is none.
	ConvertNothing
)

var conversionNames = [...]string{"unsigned", "signed", "nothing"}

// String is unsigned, signed or nothing.
func (c Conversion) String() string { return enum.String("delivery.Conversion", conversionNames[:], c) }

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (c Conversion) MarshalText() ([]byte, error) {
	return enum.Marshal("delivery.Conversion", conversionNames[:], c)
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (c *Conversion) UnmarshalText(text []byte) error {
	return enum.Unmarshal("delivery.Conversion", conversionNames[:], c, text)
}

func (c Conversion) conversion() content.Conversion {
	switch c {
	case ConvertSigned:
		return content.ConvertSigned
	case ConvertNothing:
		return content.ConvertNothing
	default:
		return content.ConvertUnsigned
	}
}
