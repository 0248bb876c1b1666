package delivery

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/internal/enum"
	"github.com/nexthop-mail/nexthop/mx"
)

// Decision says whether a PolicySource allows mail to a host over a connection, and
// why. It is a value that explains itself: String describes it for people, and it can
// be marshalled to JSON. It must not be changed.
type Decision struct {
	// Domain is the destination, Host the host's name in its MX record, and Addr the
	// address of the connection. Addr is not valid if there was no connection.
	Domain string         `json:"domain"`
	Host   string         `json:"host"`
	Addr   netip.AddrPort `json:"addr,omitzero"`

	// Accepted is true if mail may be sent, Encrypted if there is TLS, and
	// Authenticated if the host has proved to belong to the domain. Source names the
	// policy that authenticates the host, such as "dane" or "mta-sts", or, if Accepted
	// is false, the policy that holds the mail back.
	Accepted      bool   `json:"accepted"`
	Encrypted     bool   `json:"encrypted"`
	Authenticated bool   `json:"authenticated"`
	Source        string `json:"source,omitempty"`

	// Result is the result for TLS reports (RFC 8460 section 4.3); it is Success if
	// nothing is wrong. An accepted host can have another result, for example if a
	// policy is only being tested. Reason is more specific, in one word.
	Result tlsrpt.Result `json:"result"`
	Reason string        `json:"reason,omitempty"`

	// Fault says who can correct the problem.
	Fault Fault `json:"fault,omitzero"`

	// Text is the decision as a sentence.
	Text string `json:"text"`

	// Held are the policies that were applied to the host, with the result of each, as
	// TLS reports count them.
	Held []HeldTo `json:"held,omitempty"`

	// Evidence has all facts behind the decision; its type is the PolicySource's. It
	// may be nil.
	Evidence fmt.Stringer `json:"evidence,omitempty"`

	// Cause is the underlying error; it may be nil.
	Cause error `json:"-"`
}

// HeldTo is a policy that was applied to a host, in the terms of TLS reports (RFC
// 8460).
type HeldTo struct {
	// Domain is the domain that gets the report: the recipient domain, or the domain of
	// a smart host.
	Domain string `json:"domain"`

	// Policy is the policy, and Failures are the failures under it. If there are none,
	// the session was successful.
	Policy   tlsrpt.Policy    `json:"policy"`
	Failures []tlsrpt.Failure `json:"failures,omitempty"`
}

// Fault says who can correct the problem in a Decision.
type Fault uint8

// The faults.
const (
	NoFault     Fault = iota // there is no problem
	FaultHost                // the operator of the host: its TLS, its certificate, its TLSA records
	FaultDomain              // the operator of the domain: its policy, and the names of its hosts
	FaultDNS                 // a question got no answer; the cause is not known
	FaultOurs                // the operator of this program
)

var faultNames = [...]string{"none", "host", "domain", "dns", "ours"}

// String returns the fault in one word: none, host, domain, dns or ours.
func (f Fault) String() string { return enum.String("delivery.Fault", faultNames[:], f) }

// MarshalText returns the same text as String, for JSON and the like. It fails for a
// value without a name.
func (f Fault) MarshalText() ([]byte, error) {
	return enum.Marshal("delivery.Fault", faultNames[:], f)
}

// UnmarshalText reads only the texts that MarshalText writes.
func (f *Fault) UnmarshalText(text []byte) error {
	return enum.Unmarshal("delivery.Fault", faultNames[:], f, text)
}

// Err returns a *PolicyError if the host must not receive mail, and otherwise nil.
func (d *Decision) Err() error {
	if d == nil || d.Accepted {
		return nil
	}
	return &PolicyError{Decision: d}
}

// Count counts the connection for TLS reports, in a tlsrpt.Counts or something like it.
// It also counts a host to which no connection could be made. The hook Decided of a
// Trace can call it:
//
//	Decided: func(d *delivery.Decision) { d.Count(&counts) }
func (d *Decision) Count(in interface {
	Add(domain string, p *tlsrpt.Policy, failures ...tlsrpt.Failure)
}) {
	for i := range d.Held {
		held := &d.Held[i]
		in.Add(held.Domain, &held.Policy, held.Failures...)
	}
}

// worthTelling returns the decision if a policy holds mail back, or if there is a
// problem with one; otherwise nil. A host without a policy and without TLS is usual.
func (d *Decision) worthTelling() *Decision {
	if d == nil || d.Accepted && !slices.ContainsFunc(d.Held, func(h HeldTo) bool {
		return h.Policy.Type != tlsrpt.NoPolicy && len(h.Failures) > 0
	}) {
		return nil
	}
	return d
}

// String returns the decision with its evidence, line by line.
func (d *Decision) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s for %s: %s", d.Host, d.Domain, d.Text)
	if d.Result != tlsrpt.Success {
		fmt.Fprintf(&b, " [%s", d.Result)
		if d.Reason != "" {
			fmt.Fprintf(&b, ", %s", d.Reason)
		}
		if d.Fault != NoFault {
			fmt.Fprintf(&b, ", at fault: %s", d.Fault)
		}
		b.WriteByte(']')
	}
	b.WriteByte('\n')
	if d.Evidence != nil {
		b.WriteString(d.Evidence.String())
	}
	return b.String()
}

// PolicyError says why a PolicySource does not allow mail to a host for now. It is
// always temporary, because the problem may be corrected at any time.
type PolicyError struct{ Decision *Decision }

// Error returns the Decision's text. If the receiving side can correct the problem, it
// also says who there can. The sender of the message reads this text if the message
// fails.
func (e *PolicyError) Error() string {
	switch e.Decision.Fault {
	case FaultHost:
		return e.Decision.Text + " (the operator of the receiving host can correct this)"
	case FaultDomain:
		return e.Decision.Text + " (the operator of the receiving domain can correct this)"
	default:
		return e.Decision.Text
	}
}

// Unwrap returns the cause; it may be nil.
func (e *PolicyError) Unwrap() error { return e.Decision.Cause }

// Temporary returns true.
func (e *PolicyError) Temporary() bool { return true }

// ResultType returns the result type for TLS reports (RFC 8460 section 4.3).
func (e *PolicyError) ResultType() string { return e.Decision.Result.String() }

// ReasonCode returns one word for failure-reason-code in reports.
func (e *PolicyError) ReasonCode() string { return e.Decision.Reason }

// decisionOf is the decision of an attempt.
func decisionOf(made any) *Decision {
	d, _ := made.(*Decision)
	return d
}

// Protection is the protection of a session by TLS.
type Protection struct {
	// Level is TLSNone in clear, TLSEncrypt if the peer is not authenticated, and
	// TLSVerify if its certificate was verified as the policy requires.
	Level mx.TLSLevel
	// Source names the policy that required the verification, such as "dane" or
	// "mta-sts", or is "" if it was the configuration.
	Source string
}

// String returns none, encrypted, verified, or the policy that verified the
// certificate: dane, mta-sts.
func (p Protection) String() string {
	switch {
	case p.Level == mx.TLSVerify && p.Source != "":
		return p.Source
	case p.Level == mx.TLSVerify:
		return "verified"
	case p.Level == mx.TLSEncrypt:
		return "encrypted"
	default:
		return "none"
	}
}
