package dane

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/enum"
	"github.com/nexthop-mail/nexthop/mx"
)

// Policy is what DANE asks of one host, and how that was found out. Find makes it.
type Policy struct {
	// Domain is the destination, Host the host's name and Port the TCP port.
	Domain string `json:"domain"`
	Host   string `json:"host"`
	Port   uint16 `json:"port"`

	// Mandatory is that of the Source.
	Mandatory bool `json:"mandatory"`

	// DomainSecure is whether it is known that the host is the domain's: secure MX
	// records name it, it has the domain's own name, or the operator named it. A host
	// that is authenticated without it is not proved to be the domain's, and mail to it
	// must not be recorded as if it were (RFC 7672 section 2.2.1).
	DomainSecure bool `json:"domain_secure"`

	// Outcome is what there is to go by, and Reason why it is not records. Cause is the
	// failure of an outcome Failed.
	Outcome Outcome `json:"outcome"`
	Reason  Reason  `json:"reason,omitzero"`
	Cause   error   `json:"-"`

	// Base is the name where the records were found, the TLSA base domain.
	Base string `json:"base,omitempty"`

	// Records are those of the set that could be read, in the order of the answer, and
	// Unreadable is how many more there were, which are unusable.
	Records    []Record `json:"records,omitempty"`
	Unreadable int      `json:"unreadable,omitempty"`

	// Names are those of which a certificate must bear one if a record of usage DANE-TA
	// is to authenticate it.
	Names []string `json:"names,omitempty"`

	// TTL is how long the answers about TLSA records hold. A connection that was
	// authenticated by them must not be used for more mail when it is over.
	TTL time.Duration `json:"ttl,omitempty"`

	// Steps are the questions that were asked, in order.
	Steps []Step `json:"steps,omitempty"`
}

// Outcome is what there is to go by for a host (RFC 7672 section 2.1.1).
type Outcome uint8

// The outcomes. The zero value is Failed, so that a forgotten one lets no mail through.
const (
	// Failed: no answer for now. Nothing is sent to the host.
	Failed Outcome = iota
	// None: there are no records, or none that DNSSEC vouches for. DANE has no say.
	None
	// Unusable: there are secure records, of which none can be used. TLS is required,
	// and any certificate will do as far as DANE has a say.
	Unusable
	// Usable: the host must be authenticated by one of the records.
	Usable
)

var outcomeNames = [...]string{"failed", "none", "unusable", "usable"}

// String is failed, none, unusable or usable.
func (o Outcome) String() string { return enum.String("dane.Outcome", outcomeNames[:], o) }

// MarshalText is String, for JSON. It fails for a value that has no name.
func (o Outcome) MarshalText() ([]byte, error) {
	return enum.Marshal("dane.Outcome", outcomeNames[:], o)
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (o *Outcome) UnmarshalText(text []byte) error {
	return enum.Unmarshal("dane.Outcome", outcomeNames[:], o, text)
}

// Err is why the host is to be left alone before there is any connection: the outcome is
// Failed, or DANE is mandatory and there is nothing to authenticate the host by. It is
// an *Error; nil if the host may be tried.
func (p *Policy) Err() error {
	switch {
	case p.Outcome == Failed && p.Reason == NoReason: // Find has not made it
		return &Error{Verdict: Verdict{Policy: p, Reason: Misconfigured, ResultType: ValidationFailure}}
	case p.Outcome == Failed:
		return &Error{Verdict: Verdict{Policy: p, Reason: p.Reason, ResultType: resultOfLookup(p), Cause: p.Cause}}
	case p.Mandatory && p.Outcome != Usable:
		return &Error{Verdict: Verdict{Policy: p, Reason: p.Reason, ResultType: DANERequired}}
	}
	return nil
}

// Level is the least TLS that DANE asks for: mx.TLSVerify if the host must be
// authenticated, mx.TLSEncrypt if it must have TLS, and mx.TLSDefault if DANE has no say.
func (p *Policy) Level() mx.TLSLevel {
	switch p.Outcome {
	case Usable:
		return mx.TLSVerify
	case Unusable:
		return mx.TLSEncrypt
	default:
		return mx.TLSDefault
	}
}

// ServerName is the name for the handshake (SNI): the base domain, empty without records
// (RFC 7672 section 8.1).
func (p *Policy) ServerName() string { return p.Base }

// Key is the same for policies of which one authenticates exactly what the other does,
// so that a connection made under one may serve the other. Those that authenticate
// nothing have the empty key.
func (p *Policy) Key() string {
	if p.Outcome != Usable {
		return ""
	}
	var parts []string
	names := false
	for _, r := range p.Records {
		if r.Fate == Counts {
			parts = append(parts, r.String())
			names = names || r.Usage == DANETA
		}
	}
	slices.Sort(parts)
	parts = append(slices.Compact(parts), fmt.Sprint(p.DomainSecure))
	if names {
		parts = append(parts, slices.Sorted(slices.Values(p.Names))...)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return "dane " + p.Base + " " + hex.EncodeToString(sum[:])
}

// Strings are the records as reports of TLS have them (RFC 8460 section 4.4): in the form
// of zone text, one each.
func (p *Policy) Strings() []string {
	var texts []string
	for _, r := range p.Records {
		texts = append(texts, r.String())
	}
	return texts
}

// Session is what a connection to the host has shown.
type Session struct {
	// Offered is whether the host offers TLS: STARTTLS, or TLS from the beginning.
	Offered bool

	// Err is why TLS did not come about though it was offered. Unparsable is whether
	// that was a certificate which crypto/x509 cannot parse: nothing can then be said
	// about it.
	Err        error
	Unparsable bool

	// Chain are the certificates that the host has sent, its own first.
	Chain []*x509.Certificate
}

// Judge is the verdict on a connection to the host. It does not look at the names and
// dates of certificates unless a record asks for that.
func (p *Policy) Judge(s Session, now time.Time) *Verdict {
	v := &Verdict{Policy: p, Chain: Describe(s.Chain)}
	if err, ok := errors.AsType[*Error](p.Err()); ok {
		v.Reason, v.ResultType, v.Cause = err.Verdict.Reason, err.Verdict.ResultType, err.Verdict.Cause
		return v
	}
	v.Encrypted = s.Offered && s.Err == nil && !s.Unparsable && len(s.Chain) > 0
	switch {
	case p.Outcome == None:
		v.Accepted, v.Reason, v.Cause = true, p.Reason, s.Err
	case !s.Offered:
		v.refuse(NotOffered, StartTLSNotSupported, nil)
	case s.Unparsable:
		v.refuse(Unparsable, ValidationFailure, s.Err)
	case !v.Encrypted:
		v.refuse(HandshakeFailed, ValidationFailure, s.Err)
	case p.Outcome == Unusable:
		v.Accepted, v.Reason, v.ResultType = true, NoneUsable, TLSAInvalid
	default:
		v.authenticate(s.Chain, now)
	}
	return v
}
