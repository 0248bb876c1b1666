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

// Rule is what the operator wants of TLS with some hosts. Of several rules that match,
// each field is that of the most specific one that sets it: a site before a domain before
// an MX host, and the longer name of two.
type Rule struct {
	// Match says which mail the rule is for.
	Match delivery.Match

	// Level is what the host must give.
	Level Level

	// MinVersion is the least version of TLS, such as tls.VersionTLS13. It is for levels
	// at which there must be TLS.
	MinVersion uint16

	// Certificate is shown to a host that asks for one.
	Certificate *tls.Certificate

	// Fingerprints are the SHA-256 digests of certificates, of which the host must have
	// one. They go with the level Fingerprint.
	Fingerprints [][sha256.Size]byte

	// Audit has policies checked and told of, and keeps no mail.
	Audit bool
}

// Level is what a Rule wants.
type Level uint8

// The levels.
const (
	// Unset leaves it to the next rule, and to policies if there is none.
	Unset Level = iota
	// None: no TLS.
	None
	// May: TLS if the host offers it, whatever the certificate, whatever policies say.
	May
	// Encrypt: TLS, whatever the certificate, whatever policies say.
	Encrypt
	// Verify: the host must be authenticated: by DANE if it has usable TLSA records, and
	// else by a certificate with its name that the roots vouch for. DANE that fails is
	// not replaced by that. An MTA-STS policy must be kept to as well.
	Verify
	// DANE: policies decide, as they do without a rule: for part of what another rule is
	// about.
	DANE
	// DANEOnly: the host must be authenticated by DANE, and gets no mail if it cannot be.
	DANEOnly
	// Fingerprint: the host must have one of certain certificates.
	Fingerprint
)

var levelNames = [...]string{"unset", "none", "may", "encrypt", "verify", "dane", "dane-only", "fingerprint"}

// String is unset, none, may, encrypt, verify, dane, dane-only or fingerprint.
func (l Level) String() string { return enum.String("trust.Level", levelNames[:], l) }

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (l Level) MarshalText() ([]byte, error) {
	return enum.Marshal("trust.Level", levelNames[:], l)
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (l *Level) UnmarshalText(text []byte) error {
	return enum.Unmarshal("trust.Level", levelNames[:], l, text)
}

// fixed reports whether a level leaves nothing to be asked of policies.
func (l Level) fixed() bool { return l == None || l == May || l == Encrypt || l == Fingerprint }

// Validate says what makes no sense in a rule; nil if nothing does.
func (r *Rule) Validate() error {
	var problems []error
	wrong := func(text string) { problems = append(problems, errors.New(text)) }
	if set := r.Match.Domain != "" || r.Match.MX != "" || r.Match.Site != ""; !set {
		wrong("Match: it matches nothing")
	}
	if r.Level > Fingerprint {
		wrong(fmt.Sprintf("Level: %d is no level", r.Level))
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

// SetRules replaces the rules, also while mail is sent. If one makes no sense, the error
// says which, and nothing has changed.
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

// ruleFor is what the rules say of a host of a route together; nil if none matches.
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

// key is the same for rules that ask for the same of a connection; empty if that is
// nothing beyond a level.
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

// level is the level of a rule, Unset if there is none.
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
