package tlsrpt

import (
	"net/netip"
	"slices"
)

// Policy is the policy that a session was held to, as a report names it.
type Policy struct {
	// Type is what kind of policy it is.
	Type PolicyType `json:"type"`

	// Domain is the policy domain, in canonical form (A-labels): of STS and NoPolicy the
	// recipient domain, of TLSA the base domain of the records. Default: the recipient
	// domain.
	Domain string `json:"domain"`

	// Strings are the text of the policy: the lines of an MTA-STS policy, or TLSA
	// records as zone files have them, such as "3 1 1 8CF3...".
	Strings []string `json:"strings,omitempty"`

	// MX are the patterns of host names of an MTA-STS policy.
	MX []string `json:"mx,omitempty"`
}

// same reports whether two policies are one in a report.
func (p *Policy) same(q *Policy) bool {
	return p.Type == q.Type && p.Domain == q.Domain && slices.Equal(p.Strings, q.Strings) && slices.Equal(p.MX, q.MX)
}

// Failure is one thing that was wrong with a session. It is comparable: sessions that
// failed alike are counted together. What is not known, or if there was no connection
// does not exist, is left empty.
type Failure struct {
	// Result is the kind of failure; it is not Success.
	Result Result `json:"result"`

	// Reason says it more exactly, as one word or a short message (failure-reason-code).
	Reason string `json:"reason,omitempty"`

	// Info is a URI with more about it (additional-information).
	Info string `json:"info,omitempty"`

	// SendingIP is the address that the connection was made from, and ReceivingIP the
	// one it was made to.
	SendingIP   netip.Addr `json:"sending_ip,omitzero"`
	ReceivingIP netip.Addr `json:"receiving_ip,omitzero"`

	// Host is the host's name as its MX record has it, and Helo the name that it gave in
	// its greeting or its answer to EHLO.
	Host string `json:"host,omitempty"`
	Helo string `json:"helo,omitempty"`
}
