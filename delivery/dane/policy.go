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

// Policy has the requirements of DANE for one host, and how they were determined. Find
// returns it.
type Policy struct {
	// Domain is the destination, Host the host's name and Port the TCP port.
	Domain string `json:"domain"`
	Host   string `json:"host"`
	Port   uint16 `json:"port"`

	// Mandatory is Source.Mandatory.
	Mandatory bool `json:"mandatory"`

	// DomainSecure is true if the host is known to belong to the domain: secure MX
	// records name it, it has the domain's own name, or the operator named it. If it is
	// false, an authenticated host is not proved to be the domain's, and mail to it
	// must not be recorded as if it were (RFC 7672 section 2.2.1).
	DomainSecure bool `json:"domain_secure"`

	// Outcome says whether there are records. If it is not Usable, Reason says why. If
	// it is Failed, Cause is the error.
	Outcome Outcome `json:"outcome"`
	Reason  Reason  `json:"reason,omitzero"`
	Cause   error   `json:"-"`

	// Base is the name at which the records were found, the TLSA base domain.
	Base string `json:"base,omitempty"`

	// Records are the readable records of the set, in the order of the answer.
	// Unreadable is the number of the others, which are unusable. A Verdict keeps only
	// the first 16 records, of 8 KiB in all, and Omitted is the number of the others.
	Records    []Record `json:"records,omitempty"`
	Unreadable int      `json:"unreadable,omitempty"`
	Omitted    int      `json:"omitted,omitempty"`

	// Names are the names of which a certificate must have one, if a record of usage
	// DANE-TA is to authenticate it.
	Names []string `json:"names,omitempty"`

	// TTL is the time for which the answers about TLSA records are valid. After that, a
	// connection authenticated by them must not be used for more mail.
	TTL time.Duration `json:"ttl,omitempty"`

	// Steps are the questions that were asked, in order.
	Steps []Step `json:"steps,omitempty"`
}

// Outcome is the result of looking up the records of a host (RFC 7672 section 2.1.1).
type Outcome uint8

// The outcomes. The zero value is Failed, so that an Outcome that was not set lets no
// mail through.
const (
	// Failed: no answer for now. Nothing is sent to the host.
	Failed Outcome = iota
	// None: there are no records, or none that DNSSEC protects. DANE does not apply.
	None
	// Unusable: there are secure records, but none is usable. DANE requires TLS, with
	// any certificate.
	Unusable
	// Usable: the host must be authenticated by one of the records.
	Usable
)

var outcomeNames = [...]string{"failed", "none", "unusable", "usable"}

// String returns failed, none, unusable or usable.
func (o Outcome) String() string { return enum.String("dane.Outcome", outcomeNames[:], o) }

// MarshalText returns the same text as String, for JSON. It fails for a value without a
// name.
func (o Outcome) MarshalText() ([]byte, error) {
	return enum.Marshal("dane.Outcome", outcomeNames[:], o)
}

// UnmarshalText reads only the texts that MarshalText writes.
func (o *Outcome) UnmarshalText(text []byte) error {
	return enum.Unmarshal("dane.Outcome", outcomeNames[:], o, text)
}

// Err returns an *Error if the host must be skipped before a connection is made: the
// outcome is Failed, or DANE is mandatory and no record can authenticate the host. It
// returns nil if the host may be tried.
func (p *Policy) Err() error {
	switch {
	case p.Outcome == Failed && p.Reason == NoReason: // Find has not made it
		return &Error{Verdict: Verdict{Policy: p.bounded(), Reason: Misconfigured, ResultType: ValidationFailure}}
	case p.Outcome == Failed:
		return &Error{Verdict: Verdict{Policy: p.bounded(), Reason: p.Reason, ResultType: resultOfLookup(p), Cause: p.Cause}}
	case p.Mandatory && p.Outcome != Usable:
		return &Error{Verdict: Verdict{Policy: p.bounded(), Reason: p.Reason, ResultType: DANERequired}}
	}
	return nil
}

// Level returns the least TLS that DANE requires: mx.TLSVerify if the host must be
// authenticated, mx.TLSEncrypt if it must have TLS, and mx.TLSDefault if DANE does not
// apply.
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

// ServerName returns the name for the handshake (SNI): the base domain, or "" without
// records (RFC 7672 section 8.1).
func (p *Policy) ServerName() string { return p.Base }

// Key returns the same string for policies that authenticate exactly the same
// connections, so that a connection made under one can be used under the other. It is
// "" for policies that authenticate nothing.
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

// Strings returns the records in the form of zone text, one string each, as TLS reports
// have them (RFC 8460 section 4.4): those that a Verdict keeps.
func (p *Policy) Strings() []string {
	var texts []string
	for _, r := range p.bounded().Records {
		texts = append(texts, r.String())
	}
	return texts
}

// Session describes the TLS of a connection to a host.
type Session struct {
	// Offered is true if the host offers TLS: STARTTLS, or TLS from the beginning.
	Offered bool

	// Err says why TLS failed although it was offered. Unparsable is true if the cause
	// was a certificate that crypto/x509 cannot parse, about which nothing is known
	// then.
	Err        error
	Unparsable bool

	// Chain are the certificates that the host has sent, beginning with its own.
	Chain []*x509.Certificate
}

// Judge returns the verdict on a connection to the host. It ignores the names and dates
// of certificates unless a record requires them.
func (p *Policy) Judge(s Session, now time.Time) *Verdict {
	v := &Verdict{Policy: p.bounded(), Chain: Describe(s.Chain)}
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
		v.authenticate(p, s.Chain, now)
	}
	return v
}
