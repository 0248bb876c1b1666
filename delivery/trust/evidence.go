package trust

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/mx"
)

// Evidence has all facts on which a Decision is based.
type Evidence struct {
	// Route says how the host was found: "mx", "implicit" or "smarthost". MX says
	// whether DNSSEC authenticates that. Aliases are those of the domain itself.
	Route   string      `json:"route"`
	MX      mx.Security `json:"mx"`
	Aliases []string    `json:"aliases,omitempty"`

	// Target is the host's name after its aliases. Alias says whether DNSSEC
	// authenticates the first of these, and Address whether it authenticates all of
	// them and the addresses.
	Target  string       `json:"target,omitempty"`
	Alias   mx.Security  `json:"alias"`
	Address mx.Security  `json:"address"`
	Addrs   []netip.Addr `json:"addrs,omitempty"`

	// Rule is the level of the operator's rule that matches, and Match says which mail
	// the most specific one is for.
	Rule  Level  `json:"rule,omitzero"`
	Match string `json:"match,omitempty"`
	Audit bool   `json:"audit,omitzero"`

	// DANE and MTASTS are the results of these; nil if they were not asked.
	DANE   *dane.Verdict   `json:"dane,omitempty"`
	MTASTS *mtasts.Verdict `json:"mta_sts,omitempty"`

	// TLS is the result of the handshake; nil if there is no TLS.
	TLS *TLS `json:"tls,omitempty"`

	// Was says what authenticated the host before, if nothing does so any more.
	Was string `json:"was,omitempty"`
}

// TLS is the result of a handshake.
type TLS struct {
	Version string             `json:"version"`
	Cipher  string             `json:"cipher"`
	Name    string             `json:"name"` // that was asked for (SNI)
	Resumed bool               `json:"resumed,omitzero"`
	Chain   []dane.Certificate `json:"chain"`
}

// newEvidence returns the facts that are known before any question.
func newEvidence(route *mx.Route, host *mx.Host, rule *Rule) Evidence {
	e := Evidence{
		Route: route.Via.String(), MX: mx.Insecure, Target: host.Target, Alias: host.NameSecure, Address: host.Secure, Addrs: host.Addrs,
	}
	if route.Secure {
		e.MX = mx.Secure
	}
	for _, a := range route.Aliases {
		e.Aliases = append(e.Aliases, a.To)
	}
	if rule != nil {
		e.Rule, e.Match = rule.Level, matchText(&rule.Match)
	}
	return e
}

func matchText(m *delivery.Match) string {
	switch {
	case m.Site != "":
		return "site " + m.Site
	case m.Domain != "":
		return "domain " + m.Domain
	case m.MX != "":
		return "mx " + m.MX
	default:
		return "all mail"
	}
}

// tlsOf describes the state of TLS.
func tlsOf(state *tls.ConnectionState) *TLS {
	if state == nil {
		return nil
	}
	return &TLS{
		Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite), Name: state.ServerName,
		Resumed: state.DidResume, Chain: dane.Describe(state.PeerCertificates),
	}
}

// String describes the evidence for people, line by line.
func (e *Evidence) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  route %s, %v", e.Route, e.MX)
	for _, a := range e.Aliases {
		fmt.Fprintf(&b, ", alias of %s", a)
	}
	fmt.Fprintf(&b, "; addresses %v", e.Address)
	if e.Target != "" && e.Alias != mx.SecurityUnknown {
		fmt.Fprintf(&b, ", alias %v", e.Alias)
	}
	b.WriteByte('\n')
	if e.Match != "" {
		fmt.Fprintf(&b, "  rule for %s: %s\n", e.Match, e.Rule)
	}
	if e.Was != "" {
		fmt.Fprintf(&b, "  it was authenticated by %s before\n", e.Was)
	}
	if e.DANE != nil {
		b.WriteString("  DANE: " + indent(e.DANE.String()))
	}
	if e.MTASTS != nil {
		b.WriteString("  " + indent(e.MTASTS.Found.String()))
		if e.MTASTS.Found.Applies() {
			fmt.Fprintf(&b, "    %s\n", stsText(e.MTASTS))
		}
	}
	if e.TLS != nil {
		resumed := ""
		if e.TLS.Resumed {
			resumed = ", resumed: the certificates are those of before"
		}
		fmt.Fprintf(&b, "  %s, %s, for the name %s%s\n", e.TLS.Version, e.TLS.Cipher, e.TLS.Name, resumed)
		if e.DANE == nil || len(e.DANE.Chain) == 0 {
			for i, c := range e.TLS.Chain {
				fmt.Fprintf(&b, "    certificate %d: %q, %q, issued by %q, until %s\n", i, c.Subject, strings.Join(c.Names, " "), c.Issuer,
					c.NotAfter.UTC().Format("2006-01-02"))
			}
		}
	}
	return b.String()
}

// indent moves all lines but the first by two.
func indent(text string) string {
	return strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}
