package mx

import (
	"fmt"
	"strings"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

// Error says why there is no route. Router and Lookup return no other error.
type Error struct {
	// Domain is the destination in canonical form. If it has none (Kind BadDomain),
	// Domain is what was given.
	Domain string
	// Name is the name that decided: the domain, its last alias, or the MX
	// host whose lookup failed.
	Name string
	// Kind tells the cases apart.
	Kind ErrorKind
	// Via is ViaSmartHost or ViaFallback if the next hops are not the MX hosts of the
	// domain. Otherwise it is ViaNone.
	Via Via
	// Enhanced is the enhanced status code (RFC 3463) and Code the SMTP reply
	// code that goes with it (RFC 7505 section 4.2 asks for 556 and 5.1.10). No
	// server sent them: they are for a bounce, or for your reply to your own client.
	Enhanced string
	Code     int
	// LeftOut are the hosts that DNS named, at most 100, each with the reason why it
	// cannot be used.
	LeftOut []LeftOut
	// Err is the cause, a *ResolveError if a lookup failed. It may be nil.
	Err error
}

// Error names the domain, what is wrong, and the cause.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Domain == "" {
		b.WriteString(`""`)
	}
	b.WriteString(printable(e.Domain))
	b.WriteString(": ")
	b.WriteString(e.Kind.String())
	if e.Name != "" && e.Name != e.Domain {
		b.WriteString(" (")
		b.WriteString(printable(e.Name))
		b.WriteString(")")
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether asking again later may have another result.
func (e *Error) Temporary() bool { return e.Kind.Temporary() }

// ErrorKind says why no route was found. The zero value is temporary, so that an unforeseen
// error never bounces a message.
type ErrorKind uint8

// The kinds of error.
const (
	// DNSTrouble: for now there is no answer about the MX records, or about the address of
	// a host that might be usable. 4.4.3, temporary.
	DNSTrouble ErrorKind = iota
	// BogusAnswer: the same, because DNSSEC validation failed. 4.4.3, temporary.
	BogusAnswer
	// NoSuchDomain: the domain does not exist. 5.1.2.
	NoSuchDomain
	// NoMailHost: the domain has neither MX records nor an address of its own.
	// 5.1.2.
	NoMailHost
	// NullMX: the domain says that it accepts no mail (RFC 7505). 5.1.10.
	NullMX
	// NoUsableHost: there are MX records, and DNS answers that each of them has no
	// address, is not a host name, or has an address that may not be dialled. 5.4.4.
	NoUsableHost
	// MailLoop: this host is the best MX host, so no host is left to send to (RFC 5321
	// section 5.1). 5.4.6.
	MailLoop
	// BadDomain: neither a domain nor an address literal. DNS was not asked. 5.1.2, or
	// 5.1.3 if it looks like a literal.
	BadDomain
	// Misconfigured: a next hop that the operator named has no address, or a field of the
	// Router is invalid. 4.3.5, temporary, because an operator's mistake must not bounce
	// mail.
	Misconfigured
	// MaybeNoSuchDomain: the domain does not exist, but Router.DeferNoSuchDomain is set.
	// 4.1.2, temporary.
	MaybeNoSuchDomain
)

// Temporary reports whether asking again later may have another result.
func (k ErrorKind) Temporary() bool {
	switch k {
	case NoSuchDomain, NoMailHost, NullMX, NoUsableHost, MailLoop, BadDomain:
		return false
	default:
		return true
	}
}

// String describes the kind in a few words.
func (k ErrorKind) String() string {
	switch k {
	case BogusAnswer:
		return "DNS answer fails validation"
	case NoSuchDomain:
		return "no such domain"
	case NoMailHost:
		return "domain has neither a mail exchanger nor an address"
	case NullMX:
		return "domain takes no mail"
	case NoUsableHost:
		return "no usable mail exchanger"
	case MailLoop:
		return "mail exchangers point back to this host"
	case BadDomain:
		return "not a domain name"
	case Misconfigured:
		return "cannot be routed as configured"
	case MaybeNoSuchDomain:
		return "no such domain for now"
	default:
		return "no answer from DNS for now"
	}
}

var errorKindWords = [...]string{
	"dns-trouble", "bogus-answer", "no-such-domain", "no-mail-host", "null-mx", "no-usable-host", "mail-loop",
	"bad-domain", "misconfigured", "maybe-no-such-domain",
}

// MarshalText returns a word for programs, such as "no-such-domain". It fails for a value without a name.
func (k ErrorKind) MarshalText() ([]byte, error) {
	return enum.Marshal("mx.ErrorKind", errorKindWords[:], k)
}

// UnmarshalText reads the form that MarshalText writes, and no other.
func (k *ErrorKind) UnmarshalText(text []byte) error {
	return enum.Unmarshal("mx.ErrorKind", errorKindWords[:], k, text)
}

// Status returns the SMTP reply code and the enhanced status code (RFC 3463) for the
// kind.
func (k ErrorKind) Status() (code int, enhanced string) {
	switch k {
	case NoSuchDomain, NoMailHost:
		return 550, "5.1.2"
	case NullMX:
		return 556, "5.1.10" // RFC 7505 section 4.2
	case NoUsableHost:
		return 550, "5.4.4"
	case MailLoop:
		return 554, "5.4.6"
	case BadDomain:
		return 553, "5.1.2"
	case Misconfigured:
		return 451, "4.3.5"
	case MaybeNoSuchDomain:
		return 450, "4.1.2"
	default:
		return 451, "4.4.3"
	}
}

// fail is the Error of a kind, with its codes.
func fail(k ErrorKind, domain, name string, cause error) *Error {
	code, enhanced := k.Status()
	return &Error{Domain: domain, Name: name, Kind: k, Code: code, Enhanced: enhanced, Err: cause}
}

// printable is a name for people to read. Names come from strangers: whatever
// is not printable ASCII is escaped, and the rest of an endless one cut.
func printable(name string) string {
	const most = 255
	cut := len(name) > most
	if cut {
		name = name[:most]
	}
	for i := 0; i < len(name); i++ {
		if name[i] <= ' ' || name[i] > '~' {
			name = fmt.Sprintf("%+q", name)
			break
		}
	}
	if cut {
		name += "..."
	}
	return name
}
