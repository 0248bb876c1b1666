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

	"github.com/nexthop-mail/nexthop/mx"
)

// Verdict is the result of DANE for a connection to a host, with the reason.
type Verdict struct {
	// Policy has the requirements.
	Policy *Policy `json:"policy"`

	// Accepted is true if DANE allows sending mail. Encrypted is true if there was TLS,
	// and Authenticated if a record authenticates the host.
	Accepted      bool `json:"accepted"`
	Encrypted     bool `json:"encrypted"`
	Authenticated bool `json:"authenticated"`

	// Reason says why the host is not authenticated. It is NoReason if it is.
	Reason Reason `json:"reason,omitzero"`

	// ResultType is the type of the failure for reports (RFC 8460 section 4.3), or ""
	// if there is none. An accepted connection can have one, for example if no record
	// of the domain is usable.
	ResultType ResultType `json:"result_type,omitempty"`

	// Records are those of the Policy, each with its fate. Matched is the first one
	// that authenticates the host, or nil; it is among Records even if the Policy omits
	// it.
	Records []Record `json:"records,omitempty"`
	Matched *Record  `json:"matched,omitempty"`

	// Chain are the certificates that the host has sent, beginning with its own; at most
	// 8 of them.
	Chain []Certificate `json:"chain,omitempty"`

	// Cause is the underlying error; it may be nil.
	Cause error `json:"-"`
}

// Certificate describes a certificate for people.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Names     []string  `json:"names,omitempty"` // its DNS names, at most 16
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	// SPKI256 is the SHA-256 digest of its key in hexadecimal, which is the data of a
	// record "3 1 1" for it.
	SPKI256 string `json:"spki_sha256"`
}

// Describe describes the first certificates of a chain, at most 8, with texts of at most
// 256 octets.
func Describe(chain []*x509.Certificate) []Certificate {
	var all []Certificate
	for _, cert := range chain[:min(len(chain), mostShown)] {
		sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		var names []string
		for _, name := range cert.DNSNames[:min(len(cert.DNSNames), mostNames)] {
			names = append(names, cut(name))
		}
		all = append(all, Certificate{
			Subject: cut(cert.Subject.String()), Issuer: cut(cert.Issuer.String()), Names: names,
			NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, SPKI256: hex.EncodeToString(sum[:]),
		})
	}
	return all
}

// authenticate compares the chain with the records.
func (v *Verdict) authenticate(p *Policy, chain []*x509.Certificate, now time.Time) {
	records := slices.Clone(p.Records)
	c, best := p.compare(chain, now), NoMatch
	for i := range records {
		r := &records[i]
		if r.Fate != Counts {
			continue
		}
		c.match(r)
		if closeness(r.Fate) <= closeness(best) {
			continue
		}
		if best = r.Fate; best == Matched {
			v.Matched = r
		}
	}
	v.keep(records)
	switch best {
	case Matched:
		v.Accepted, v.Authenticated = true, true
	case NameMismatch:
		v.refuse(WrongName, HostMismatch, nil)
	case Expired:
		v.refuse(NotInDate, CertificateExpired, nil)
	case BadChain:
		v.refuse(ChainInvalid, NotTrusted, nil)
	default:
		v.refuse(NoRecordMatches, NotTrusted, nil)
	}
}

// refuse makes v the verdict that the host must not have mail.
func (v *Verdict) refuse(why Reason, result ResultType, cause error) {
	v.Accepted, v.Reason, v.ResultType, v.Cause = false, why, result, cause
}

// Err returns an *Error if no mail may be sent over the connection, and otherwise nil.
func (v *Verdict) Err() error {
	if v.Accepted {
		return nil
	}
	return &Error{Verdict: *v}
}

// DomainAuthenticated reports whether the host is proved to belong to the domain: it is
// authenticated, and known to be a host of the domain.
func (v *Verdict) DomainAuthenticated() bool { return v.Authenticated && v.Policy.DomainSecure }

// String describes the verdict for people, line by line: the questions, the records,
// the certificates, and the result.
func (v *Verdict) String() string {
	var b strings.Builder
	p := v.Policy
	fmt.Fprintf(&b, "%s port %d for %s", p.Host, p.Port, p.Domain)
	if !p.DomainSecure {
		b.WriteString(", named by insecure MX records")
	}
	b.WriteByte('\n')
	for _, step := range p.Steps {
		fmt.Fprintf(&b, "  asked %s of %s: %s", step.Type, step.Name, step.Status)
		if step.Security != mx.SecurityUnknown {
			fmt.Fprintf(&b, ", %v", step.Security)
		}
		for _, alias := range step.Aliases {
			fmt.Fprintf(&b, ", alias of %s", alias)
		}
		b.WriteByte('\n')
	}
	records := v.Records
	if records == nil {
		records = p.Records
	}
	for _, r := range records {
		fmt.Fprintf(&b, "  record %s: %s", r, r.Fate)
		if r.Fate == Matched {
			fmt.Fprintf(&b, " at depth %d", r.Depth)
		}
		b.WriteByte('\n')
	}
	if p.Omitted > 0 {
		fmt.Fprintf(&b, "  and %d more records\n", p.Omitted)
	}
	if p.Unreadable > 0 {
		fmt.Fprintf(&b, "  and %d that cannot be read\n", p.Unreadable)
	}
	if len(p.Names) > 0 {
		fmt.Fprintf(&b, "  names for usage 2: %s\n", strings.Join(p.Names, ", "))
	}
	for i, cert := range v.Chain {
		names := cert.Names
		if len(names) == 0 {
			names = []string{"no DNS name"}
		}
		fmt.Fprintf(&b, "  certificate %d: %q, %s, issued by %q, until %s\n", i, cert.Subject, printable(strings.Join(names, " ")), cert.Issuer,
			cert.NotAfter.UTC().Format(time.DateOnly))
	}
	fmt.Fprintf(&b, "  %s\n", v.summary())
	return b.String()
}

// summary is the verdict in a sentence.
func (v *Verdict) summary() string {
	switch {
	case v.Authenticated:
		return "authenticated"
	case v.Accepted && v.Encrypted:
		return "accepted with TLS, not authenticated: " + v.Reason.String()
	case v.Accepted:
		return "accepted, DANE has no say: " + v.Reason.String()
	}
	text := "refused: " + v.Reason.String()
	if v.ResultType == DANERequired {
		text = "refused, since DANE is mandatory: " + v.Reason.String()
	}
	if v.Cause != nil {
		text += ": " + v.Cause.Error()
	}
	return text
}

// printable is text from a certificate without what terminals act on.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, text)
}

// Error says why a host must not receive mail for now. It is always temporary (RFC 7672
// section 2.2), because the problem may be corrected at any time.
type Error struct{ Verdict Verdict }

// Error names the host and the reason.
func (e *Error) Error() string {
	return "DANE for " + e.Verdict.Policy.Host + ": " + e.Verdict.summary()
}

// Unwrap returns the cause, such as a *mx.ResolveError; it may be nil.
func (e *Error) Unwrap() error { return e.Verdict.Cause }

// Temporary returns true.
func (e *Error) Temporary() bool { return true }

// ResultType returns the result type for reports (RFC 8460 section 4.3).
func (e *Error) ResultType() string { return string(e.Verdict.ResultType) }

// ReasonCode returns one word for failure-reason-code in reports.
func (e *Error) ReasonCode() string { return e.Verdict.Reason.Code() }

// resultOfLookup is what reports count a failed question as.
func resultOfLookup(p *Policy) ResultType {
	if _, ok := errors.AsType[*mx.ResolveError](p.Cause); ok {
		return DNSSECInvalid
	}
	return ValidationFailure
}
