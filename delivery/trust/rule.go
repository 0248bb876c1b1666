package trust

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/internal/enum"
	"github.com/nexthop-mail/nexthop/mx"
)

// Rule sets the operator's requirements for the TLS of some hosts. If several rules
// match, each field comes from the most specific one that sets it: a site before a
// domain before an MX host, and the longer of two names first.
type Rule struct {
	// Match says which mail the rule is for.
	Match delivery.Match

	// Level is the required level.
	Level Level

	// MinVersion is the lowest version of TLS, such as tls.VersionTLS13. With it
	// the level DANE requires TLS, too, with any certificate if there is no policy. A rule
	// with the level None or May must not have it, and if another rule or Source.Default
	// sets one of these levels, it is ignored.
	MinVersion uint16

	// Certificate is presented to hosts that ask for one.
	Certificate *tls.Certificate

	// Fingerprints are the SHA-256 digests of certificates, one of which the host must
	// have. They are for the level Fingerprint.
	Fingerprints [][sha256.Size]byte

	// Audit checks and reports policies, but holds back no mail.
	Audit bool
}

// Level is the TLS that a Rule requires.
type Level uint8

// The levels.
const (
	// Unset leaves the level to the next rule, or to the policies if there is none.
	Unset Level = iota
	// None: no TLS.
	None
	// May: TLS if the host offers it, with any certificate. Policies are not asked.
	May
	// Encrypt: TLS with any certificate. Policies are not asked.
	Encrypt
	// Verify: the host must be authenticated: by DANE if it has usable TLSA records,
	// and otherwise by a certificate with its name that the roots have issued. If DANE
	// fails, a certificate does not help. An MTA-STS policy must be satisfied as well.
	Verify
	// DANE: the policies decide, as without a rule. It makes an exception from another
	// rule.
	DANE
	// DANEOnly: the host must be authenticated by DANE. Otherwise it gets no mail.
	DANEOnly
	// Fingerprint: the host must have one of the certificates in Fingerprints.
	Fingerprint
)

var levelNames = [...]string{"unset", "none", "may", "encrypt", "verify", "dane", "dane-only", "fingerprint"}

// String returns unset, none, may, encrypt, verify, dane, dane-only or fingerprint.
func (l Level) String() string { return enum.String("trust.Level", levelNames[:], l) }

// MarshalText returns the same text as String, for JSON and the like. It fails for a
// value without a name.
func (l Level) MarshalText() ([]byte, error) {
	return enum.Marshal("trust.Level", levelNames[:], l)
}

// UnmarshalText reads only the texts that MarshalText writes.
func (l *Level) UnmarshalText(text []byte) error {
	return enum.Unmarshal("trust.Level", levelNames[:], l, text)
}

// fixed reports whether a level does not depend on policies.
func (l Level) fixed() bool { return l == None || l == May || l == Encrypt || l == Fingerprint }

// Validate reports invalid fields, or nil if there are none.
func (r *Rule) Validate() error {
	var problems []error
	wrong := func(text string) { problems = append(problems, errors.New(text)) }
	if set := r.Match.Domain != "" || r.Match.MX != "" || r.Match.Site != ""; !set {
		wrong("Match: it matches nothing")
	}
	if r.Level > Fingerprint {
		wrong(fmt.Sprintf("Level: unknown level %d", r.Level))
	}
	if (r.Level == Fingerprint) != (len(r.Fingerprints) > 0) {
		wrong("Fingerprints: they go with the level fingerprint")
	}
	if r.MinVersion != 0 && (r.Level == None || r.Level == May) {
		wrong("MinVersion: mail that may go in clear needs no version of TLS")
	}
	if r.Level == Unset && r.MinVersion == 0 && r.Certificate == nil && !r.Audit {
		wrong("it sets nothing")
	}
	return errors.Join(problems...)
}

// SetRules replaces the rules. It may be called while mail is sent. If a rule is
// invalid, the error says which one, and the rules stay as they were.
func (s *Source) SetRules(rules []Rule) error {
	var problems []error
	list := slices.Clone(rules)
	for i := range list {
		if err := list[i].Validate(); err != nil {
			problems = append(problems, fmt.Errorf("rule %d: %w", i, err))
		}
		m := &list[i].Match
		m.Domain, m.MX, m.Site = strings.ToLower(m.Domain), strings.ToLower(m.MX), strings.ToLower(m.Site)
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	slices.SortStableFunc(list, func(a, b Rule) int {
		akind, along := rank(&a.Match)
		bkind, blong := rank(&b.Match)
		return cmp.Or(cmp.Compare(akind, bkind), cmp.Compare(along, blong))
	})
	s.replaced.Store(&list)
	return nil
}

// rank orders matches, the most specific first.
func rank(m *delivery.Match) (kind, length int) {
	switch {
	case m.Site != "":
		return 0, 0
	case m.Domain != "":
		return 1, -len(m.Domain)
	default:
		return 2, -len(m.MX)
	}
}

// ruleFor returns the combination of the rules that match a host of a route; nil if
// none matches.
func (s *Source) ruleFor(route *mx.Route, host *mx.Host) *Rule {
	rules := s.replaced.Load()
	if rules == nil {
		rules = new([]Rule)
	}
	var merged *Rule
	site := ""
	for i := range *rules {
		r := &(*rules)[i]
		if r.Match.Site != "" && site == "" {
			site = siteName(route.Hosts)
		}
		if !matches(&r.Match, site, route.Domain, host.Name) {
			continue
		}
		if merged == nil {
			merged = &Rule{Match: r.Match}
		}
		if merged.Level == Unset {
			merged.Level, merged.Fingerprints = r.Level, r.Fingerprints
		}
		merged.MinVersion = cmp.Or(merged.MinVersion, r.MinVersion)
		merged.Certificate = cmp.Or(merged.Certificate, r.Certificate)
		merged.Audit = merged.Audit || r.Audit
	}
	if merged == nil && s.Default != Unset {
		merged = &Rule{}
	}
	if merged != nil && merged.Level == Unset {
		merged.Level = s.Default
	}
	if merged != nil && (merged.Level == None || merged.Level == May) {
		merged.MinVersion = 0
	}
	return merged
}

func matches(m *delivery.Match, site, domain, host string) bool {
	switch {
	case m.Site != "":
		return m.Site == site
	case m.Domain != "":
		return below(domain, m.Domain, false)
	default:
		return below(host, m.MX, true)
	}
}

// below reports whether a name fits a pattern: it is that, or below it where that begins
// with a dot, or with suffix in any case.
func below(name, pattern string, suffix bool) bool {
	switch {
	case name == pattern:
		return true
	case strings.HasPrefix(pattern, "."):
		return strings.HasSuffix(name, pattern)
	default:
		return suffix && strings.HasSuffix(name, "."+pattern)
	}
}

// siteName is the name of the site of hosts that MX records lead to, as agents show it.
func siteName(hosts []mx.Host) string {
	if len(hosts) == 1 {
		return hosts[0].Name
	}
	var groups []string
	for from := 0; from < len(hosts); {
		to := from + 1
		for to < len(hosts) && hosts[to].Preference == hosts[from].Preference {
			to++
		}
		var names []string
		for i := range hosts[from:to] {
			names = append(names, hosts[from+i].Name)
		}
		slices.Sort(names)
		groups = append(groups, strings.Join(names, ",")+";")
		from = to
	}
	return strings.Join(groups, ",")
}

// key returns the same string for rules with the same requirements for a connection, or
// "" if they have none beyond a level.
func (r *Rule) key() string {
	if r == nil || r.MinVersion == 0 && r.Certificate == nil && len(r.Fingerprints) == 0 {
		return ""
	}
	sum := sha256.New()
	fmt.Fprintln(sum, r.MinVersion, len(r.Fingerprints))
	if r.Certificate != nil {
		for _, octets := range r.Certificate.Certificate {
			fmt.Fprintf(sum, "%x\n", octets)
		}
	}
	for _, f := range r.Fingerprints {
		fmt.Fprintf(sum, "%x\n", f)
	}
	return "rule " + hex.EncodeToString(sum.Sum(nil))
}

// level returns the level of a rule, or Unset if there is none.
func (r *Rule) level() Level {
	if r == nil {
		return Unset
	}
	return r.Level
}

// floor is what a rule asks of every connection, whatever policies do.
func (l Level) floor() mx.TLSLevel {
	switch l {
	case None:
		return mx.TLSNone
	case May:
		return mx.TLSMay
	case Encrypt:
		return mx.TLSEncrypt
	case Verify, Fingerprint, DANEOnly:
		return mx.TLSVerify
	default:
		return mx.TLSDefault
	}
}
