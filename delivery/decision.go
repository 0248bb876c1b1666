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

// Decision is whether a host may have mail over a connection, as far as a PolicySource
// has a say, and why. It is a value that explains itself: String is for people, and it
// marshals to JSON. Nobody changes one that was given out.
type Decision struct {
	// Domain is the destination, Host the host's name as the MX record has it, and Addr
	// where the connection led; there was none if it is not valid.
	Domain string         `json:"domain"`
	Host   string         `json:"host"`
	Addr   netip.AddrPort `json:"addr,omitzero"`

	// Accepted is whether mail may be sent, Encrypted whether there is TLS, and
	// Authenticated whether the host has proved to be the domain's. Source says by what:
	// such as "dane" or "mta-sts"; or what keeps the mail, if it is not accepted.
	Accepted      bool   `json:"accepted"`
	Encrypted     bool   `json:"encrypted"`
	Authenticated bool   `json:"authenticated"`
	Source        string `json:"source,omitempty"`

	// Result is what is wrong, in the terms of reports of TLS (RFC 8460 section 4.3), and
	// Success if nothing is. A host can be accepted though something is wrong, as it is
	// if a policy is only being tested. Reason says it more exactly, as one word.
	Result tlsrpt.Result `json:"result"`
	Reason string        `json:"reason,omitempty"`

	// Fault is who can put right what is wrong.
	Fault Fault `json:"fault,omitzero"`

	// Text is the decision in a sentence.
	Text string `json:"text"`

	// Held are the policies that the host was held to, and what became of each, as
	// reports of TLS count them.
	Held []HeldTo `json:"held,omitempty"`

	// Evidence is all that was found out on the way to the decision; its type is the
	// PolicySource's. It may be nil.
	Evidence fmt.Stringer `json:"evidence,omitempty"`

	// Cause is the error behind it; it may be nil.
	Cause error `json:"-"`
}

// HeldTo is a policy that a host was held to, in the terms of reports of TLS (RFC 8460).
type HeldTo struct {
	// Domain is whose reports have it: the recipient domain, or the domain of a smart
	// host.
	Domain string `json:"domain"`

	// Policy is the policy, and Failures what was wrong by it; none is a success.
	Policy   tlsrpt.Policy    `json:"policy"`
	Failures []tlsrpt.Failure `json:"failures,omitempty"`
}

// Fault is who can put right what a Decision says is wrong.
type Fault uint8

// The faults.
const (
	NoFault     Fault = iota // nothing is wrong
	FaultHost                // whoever runs the host: its TLS, its certificate, its TLSA records
	FaultDomain              // whoever runs the domain: its policy, and the names of its hosts
	FaultDNS                 // a question has no answer for now; it is not known whose fault that is
	FaultOurs                // whoever runs this program
)

var faultNames = [...]string{"none", "host", "domain", "dns", "ours"}

// String is the fault in one word: none, host, domain, dns or ours.
func (f Fault) String() string { return enum.String("delivery.Fault", faultNames[:], f) }

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (f Fault) MarshalText() ([]byte, error) {
	return enum.Marshal("delivery.Fault", faultNames[:], f)
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (f *Fault) UnmarshalText(text []byte) error {
	return enum.Unmarshal("delivery.Fault", faultNames[:], f, text)
}

// Err is a *PolicyError if the host must not have mail, and nil if it may.
func (d *Decision) Err() error {
	if d == nil || d.Accepted {
		return nil
	}
	return &PolicyError{Decision: d}
}

// Count counts the connection, or the host that could not be connected to, for reports of
// TLS, in a tlsrpt.Counts or something like it. A Trace does so by its hook Decided:
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

// worthTelling is the decision if a policy keeps the mail, or something is wrong with one;
// else nil. That a host without any policy has no TLS is usual.
func (d *Decision) worthTelling() *Decision {
	if d == nil || d.Accepted && !slices.ContainsFunc(d.Held, func(h HeldTo) bool {
		return h.Policy.Type != tlsrpt.NoPolicy && len(h.Failures) > 0
	}) {
		return nil
	}
	return d
}

// String is the decision with its evidence, line by line.
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

// PolicyError is why a host must not have mail for now by what a PolicySource says. It is
// always temporary: what is wrong may be put right at any time.
type PolicyError struct{ Decision *Decision }

// Error is the Decision's text, with who can put right what is wrong if that is somebody at
// the receiving end. It is what the sender of a message reads if that fails.
func (e *PolicyError) Error() string {
	switch e.Decision.Fault {
	case FaultHost:
		return e.Decision.Text + " (whoever runs the receiving host can put that right)"
	case FaultDomain:
		return e.Decision.Text + " (whoever runs the receiving domain can put that right)"
	default:
		return e.Decision.Text
	}
}

// Unwrap is the cause; it may be nil.
func (e *PolicyError) Unwrap() error { return e.Decision.Cause }

// Temporary is always true.
func (e *PolicyError) Temporary() bool { return true }

// ResultType is what reports of TLS count this as (RFC 8460 section 4.3).
func (e *PolicyError) ResultType() string { return e.Decision.Result.String() }

// ReasonCode is the reason as a word for failure-reason-code of reports.
func (e *PolicyError) ReasonCode() string { return e.Decision.Reason }

// decisionOf is the decision of an attempt.
func decisionOf(made any) *Decision {
	d, _ := made.(*Decision)
	return d
}

// Protection is what a session's TLS is worth.
type Protection struct {
	// Level is TLSNone in clear, TLSEncrypt if the peer is not known, and
	// TLSVerify if its certificate was checked as the policy asks.
	Level mx.TLSLevel
	// Source is what asked for the check: "" for configuration, else the
	// policy's, such as "dane" or "mta-sts".
	Source string
}

// String is none, encrypted, verified, or the policy that verified: dane,
// mta-sts.
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
