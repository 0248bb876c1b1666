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
	// cache; without /etc/resolv.conf, as on Windows, every attempt fails at once and
	// says so (mx.FromNet makes a Resolver). It is not used if Router is set.
	Resolver mx.Resolver

	// Router finds the next hops. Default: by MX records through Resolver, with this
	// Sender's Self, SelfAddrs, Relay, AllowLoopback, RefusePrivate, Family and
	// DeferNoSuchDomain. With a Router only Self is used, for the greetings of hosts.
	// Validate reports the others, and names in Self that the mx.Router of ByMX or of a
	// smarthost.Table does not know.
	Router Router

	// Self are the names of this host in MX records. The hosts with these names, and
	// those of equal or worse preference, are left out (RFC 5321 section 5.1). A
	// program that only sends needs none.
	Self []string

	// SelfAddrs are addresses at which others reach this host and that its interfaces
	// do not have, such as the public address of a NAT.
	SelfAddrs []netip.Addr

	// SelfMark is a word that the server of this program, and no other, gives after its
	// name in the reply to EHLO. It tells apart programs on one machine that have the same
	// name: a smart host that replies with a name in Self but without the mark is another
	// program, and gets mail. A program that accepts no mail sets a word that no server
	// gives. If empty, every host that replies with a name in Self is this one. For MX
	// hosts that is so with a mark, too.
	SelfMark string

	// Relay is true if this program passes on the mail of others, as a secondary MX
	// does. Then the addresses of this machine's interfaces count as its own, too.
	Relay bool

	// AllowLoopback allows MX hosts with loopback addresses. Otherwise such addresses
	// are never dialled.
	AllowLoopback bool

	// RefusePrivate excludes addresses of MX hosts in private and other special
	// networks. It is for programs whose users choose the domains.
	RefusePrivate bool

	// DeferNoSuchDomain defers mail to domains that do not exist. Otherwise such mail
	// fails at once.
	DeferNoSuchDomain bool

	// Family limits the addresses used. Default: both families.
	Family mx.Family

	// Port is the TCP port of hosts whose route has none. Default: 25, or 465 for hosts
	// with TLS from the start.
	Port uint16

	// TLS is the level for hosts whose route has none. Default: TLSMay.
	TLS mx.TLSLevel

	// TLSConfig is the base of every TLS configuration (roots, versions). Default: Go's
	// defaults with TLS 1.2 or later. ServerName, the verification with the roots, and
	// client certificates are set per host. Its VerifyPeerCertificate and
	// VerifyConnection are called whenever TLS is used, at every level. A host that
	// they refuse is skipped in this attempt and gets no mail, not even in clear. They
	// are not called for hosts without TLS.
	//
	// A handshake that fails may be made once more in an older form: without hybrid key
	// exchange unless CurvePreferences is set, and with key exchange by RSA unless
	// CipherSuites is set or the host must be verified.
	//
	// TLS sessions are resumed if the requirements for the host are the same as before,
	// and all checks are made again; VerifyPeerCertificate is then called with the
	// earlier chains. Up to 1,024 sessions are remembered, each for at most a day.
	// ClientSessionCache is not used, because its keys are names, so that one policy's
	// session could be used for another. SessionTicketsDisabled turns resumption off.
	TLSConfig *tls.Config

	// Policy can require more TLS of a host than the field TLS. It may be nil.
	Policy PolicySource

	// Content says how to treat content that is not in canonical form.
	Content ContentPolicy

	// Convert says which 8-bit content is encoded as quoted-printable or base64 for
	// hosts without 8BITMIME. Other 8-bit content is sent to another host of the route,
	// or fails with the status 5.6.3.
	Convert Conversion

	// Judge replaces the verdict table. Default: the package's Judge.
	Judge func(stage Stage, code int, enhanced string) Verdict

	// Dial replaces the TCP dialler. Default: net.Dialer with Source.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Source are local addresses to send from, any number per address family. Of those of
	// a family, each message uses the same one at every attempt. Default: the system's
	// choice. They are not used if Dial is set.
	Source []netip.Addr

	// ConnectTimeout limits one connection attempt. Default: 30 s. Timeouts limit the
	// steps of the dialogue.
	ConnectTimeout time.Duration
	Timeouts       Timeouts

	// MaxConnections limits the connections tried per destination in one attempt.
	// Default: 32. 1 counts as 2, since RFC 5321 section 5.1 requires that at least two
	// addresses are tried.
	MaxConnections int

	// MaxSessions limits the sessions per destination that reach MAIL in one attempt,
	// so that a recipient that is deferred is not offered to every host of a long
	// route. Default: 5.
	MaxSessions int

	// MaxDestinations limits the destinations of one message that are attempted at the
	// same time. Default: 8.
	MaxDestinations int

	// MaxIdle limits the sessions kept open between calls. Default: 64. If negative, no
	// sessions are kept. IdleTimeout is how long one is kept unused. Default: 30 s,
	// less than the five minutes that a server must wait (RFC 5321 section 4.5.3.2.7).
	MaxIdle     int
	IdleTimeout time.Duration

	// Trace has hooks called for every message. It may be nil.
	Trace *Trace

	once     sync.Once
	router   Router
	broken   error                      // why there is no router
	system   func() (*mx.Client, error) // nil is mx.System
	sessions session.Pool
	attempts attempt.Config
	untraced traces // for calls that are not passed to a hook
}

// Trace is a set of hooks that observe a Sender, in the manner of net/http/httptrace.
// Each may be nil. They are called in order for one destination, concurrently for
// several, and delay the delivery while they run. Secrets are never passed to them.
type Trace struct {
	// Route is called after the route of a destination was looked for.
	Route func(domain string, route mx.Route, err error)
	// Connect is called before an address is dialled.
	Connect func(host string, addr netip.AddrPort)
	// Connected is called when dialling has ended.
	Connected func(host string, addr netip.AddrPort, err error)
	// Decided is called when the PolicySource has decided about a new connection, or
	// about a host that it excludes before a connection: once for each connection, when
	// it is known whether TLS works there. It is not called for one that failed when TLS
	// was resumed, after which there is another.
	Decided func(d *Decision)
	// Secured is called when a session is ready for mail, with its protection.
	Secured func(host string, addr netip.AddrPort, p Protection)
	// Reused is called when a kept session is used again.
	Reused func(host string, addr netip.AddrPort)
	// Line is called for each line of the dialogue. Content is summarized in one line,
	// secrets are left out, and control characters are escaped.
	Line func(host string, addr netip.AddrPort, l Line)
	// Attempt is called after each step of the walk, with the recipients it was about.
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

// ContentPolicy says how a Sender treats content that is not canonical mail.
type ContentPolicy uint8

// The content policies.
const (
	// ContentOriginate is for programs that send their own mail: bare LF and bare CR
	// become CRLF, NUL and lines over 998 octets are refused.
	ContentOriginate ContentPolicy = iota
	// ContentRelay is for mail that was received from others: it is passed on unchanged
	// or not at all (RFC 5321 section 6.4).
	ContentRelay
)

var contentNames = [...]string{"originate", "relay"}

// String returns originate or relay.
func (p ContentPolicy) String() string {
	return enum.String("delivery.ContentPolicy", contentNames[:], p)
}

// MarshalText returns the same text as String, for JSON and the like. It fails for a
// value without a name.
func (p ContentPolicy) MarshalText() ([]byte, error) {
	return enum.Marshal("delivery.ContentPolicy", contentNames[:], p)
}

// UnmarshalText reads only the texts that MarshalText writes.
func (p *ContentPolicy) UnmarshalText(text []byte) error {
	return enum.Unmarshal("delivery.ContentPolicy", contentNames[:], p, text)
}

func (p ContentPolicy) policy() content.Policy {
	if p == ContentRelay {
		return content.Relay
	}
	return content.Origin
}

// Timeouts limit the steps of a dialogue separately, so that a long message is never
// cut off by a limit on the whole. A zero field means its default, which is the minimum
// in RFC 5321 section 4.5.3.2.
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

	// Backstop limits a whole transaction, to the sum of the limits of its steps above,
	// the time for its content at 256 octets a second, and this. So steps that are each
	// in time are never cut off, but content that is accepted too slowly is. Default 4
	// h.
	Backstop time.Duration
}

// AtMost returns t with no wait for a reply longer than d. Shorter ones are unchanged,
// and so are Write and Backstop, which do not limit a wait for a reply.
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

// Conversion says which 8-bit content a Sender encodes for hosts that accept only 7
// bits (RFC 6152 section 3). The decoded content stays the same. The structure of the
// message and everything that is 7-bit stay the same octet for octet. Content is never
// converted if it has 8-bit octets in a header, outside the parts of a multipart, or in
// a part that is signed, encrypted, or must not be encoded.
type Conversion uint8

// The conversions.
const (
	// ConvertUnsigned converts all messages except those with a DKIM-Signature or
	// ARC-Seal field, whose signatures would no longer be valid.
	ConvertUnsigned Conversion = iota
	// ConvertSigned converts these as well.
	ConvertSigned
	// ConvertNothing converts no message.
	ConvertNothing
)

var conversionNames = [...]string{"unsigned", "signed", "nothing"}

// String returns unsigned, signed or nothing.
func (c Conversion) String() string { return enum.String("delivery.Conversion", conversionNames[:], c) }

// MarshalText returns the same text as String, for JSON and the like. It fails for a
// value without a name.
func (c Conversion) MarshalText() ([]byte, error) {
	return enum.Marshal("delivery.Conversion", conversionNames[:], c)
}

// UnmarshalText reads only the texts that MarshalText writes.
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
