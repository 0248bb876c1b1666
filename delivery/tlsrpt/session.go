package tlsrpt

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Policy is the policy that was applied to a session, as a report names it.
type Policy struct {
	// Type is the kind of policy.
	Type PolicyType `json:"type"`

	// Domain is the policy domain in canonical form (A-labels): for STS and NoPolicy
	// the recipient domain, for TLSA the base domain of the records. Default: the
	// recipient domain.
	Domain string `json:"domain"`

	// Strings is the text of the policy: the lines of an MTA-STS policy, or TLSA
	// records in the form of zone files, such as "3 1 1 8CF3...".
	Strings []string `json:"strings,omitempty"`

	// MX are the host name patterns of an MTA-STS policy.
	MX []string `json:"mx,omitempty"`
}

// is reports whether two policies are one in the report of a domain.
func (p *Policy) is(q *Policy, domain string) bool {
	return p.Type == q.Type && p.Domain == cmp.Or(q.Domain, domain) && slices.Equal(p.Strings, q.Strings) && slices.Equal(p.MX, q.MX)
}

// size is how many octets its text has, about.
func (p *Policy) size() int {
	n := len(p.Domain)
	for _, s := range p.Strings {
		n += 16 + len(s)
	}
	for _, s := range p.MX {
		n += 16 + len(s)
	}
	return n
}

func (p *Policy) compare(q *Policy) int {
	return cmp.Or(cmp.Compare(p.Type, q.Type), cmp.Compare(p.Domain, q.Domain), slices.Compare(p.Strings, q.Strings),
		slices.Compare(p.MX, q.MX))
}

// Failure is one failure of a session. It is comparable: sessions with equal failures
// are counted together. Fields that are unknown are empty, as are those that do not
// exist without a connection.
type Failure struct {
	// Result is the kind of failure; it is not Success.
	Result Result `json:"result"`

	// Reason is more specific: one word or a short message (failure-reason-code).
	Reason string `json:"reason,omitempty"`

	// Info is a URI with more information (additional-information).
	Info string `json:"info,omitempty"`

	// SendingIP and ReceivingIP are the local and the remote address of the connection.
	SendingIP   netip.Addr `json:"sending_ip,omitzero"`
	ReceivingIP netip.Addr `json:"receiving_ip,omitzero"`

	// Host is the host's name in its MX record, and Helo the name in its greeting or
	// its answer to EHLO.
	Host string `json:"host,omitempty"`
	Helo string `json:"helo,omitempty"`
}

// clean is the failure as it is counted: addresses of one form, and text of bounded
// length that can stand in a report.
func (f *Failure) clean() Failure {
	return Failure{
		Result: f.Result, Reason: clean(f.Reason, mostReason), Info: clean(f.Info, mostInfo),
		SendingIP: f.SendingIP.Unmap().WithZone(""), ReceivingIP: f.ReceivingIP.Unmap().WithZone(""),
		Host: clean(f.Host, mostHost), Helo: clean(f.Helo, mostHost),
	}
}

// clean returns at most the given number of octets of text, without invalid characters.
func clean(text string, most int) string {
	bad := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if len(text) <= most && !strings.ContainsFunc(text, bad) {
		return text
	}
	text = strings.Map(func(r rune) rune {
		if bad(r) {
			return '?'
		}
		return r
	}, text)
	if len(text) > most {
		for most > 0 && !utf8.RuneStart(text[most]) {
			most--
		}
		text = text[:most]
	}
	return text
}

func (f *Failure) compare(g *Failure) int {
	return cmp.Or(cmp.Compare(f.Result, g.Result), cmp.Compare(f.Host, g.Host), f.ReceivingIP.Compare(g.ReceivingIP),
		f.SendingIP.Compare(g.SendingIP), cmp.Compare(f.Reason, g.Reason), cmp.Compare(f.Helo, g.Helo), cmp.Compare(f.Info, g.Info))
}
