package delivery

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/delivery/internal/share"
)

// HostLimits are the limits for mail to one host, from all rules that match.
type HostLimits struct {
	// Connections, Rate, Messages and Recipients are as in Rule. Zero means no limit.
	Connections int
	Rate        float64
	Messages    int
	Recipients  int

	// Groups are the groups whose limits apply as well.
	Groups []string

	// Shared is whether Connections and Rate are those of all agents of the queue together.
	Shared bool
}

// ruleSet has rules in a form for lookup. Nil has no rules.
type ruleSet struct {
	limits Limits
	rules  map[Match]*Rule
	groups map[string]Group

	anyShared bool // of rules and groups

	mu    sync.Mutex
	known map[[2]string]session.HostLimits // by site and host
}

// maxRuled is for how many hosts it is remembered what holds there.
const maxRuled = 10_000

// newRuleSet compiles rules that make sense.
func newRuleSet(limits Limits, rules []Rule, groups map[string]Group) *ruleSet {
	if len(rules) == 0 {
		return nil
	}
	set := &ruleSet{
		limits: limits, rules: make(map[Match]*Rule), groups: groups,
		known: make(map[[2]string]session.HostLimits),
	}
	for i := range rules {
		if m, err := rules[i].Match.canonical(); err == nil {
			set.rules[m] = &rules[i]
		}
		set.anyShared = set.anyShared || rules[i].Shared || groups[rules[i].Group].Shared
	}
	return set
}

// shared reports whether any limits are shared.
func (s *ruleSet) shared() bool { return s != nil && s.anyShared }

// domainMark is in the key of a site before the domain of a rule by domain, whose mail
// is a separate site.
const domainMark = " for "

// domain returns the pattern of the most specific rule for a recipient domain, or "" if
// there is none.
func (s *ruleSet) domain(domain string) string {
	if s == nil {
		return ""
	}
	for _, pattern := range below(domain, false) {
		if s.rules[Match{Domain: pattern}] != nil {
			return pattern
		}
	}
	return ""
}

// below are the patterns that match a name, the longest first: itself, and with a
// leading dot each domain that it is in; bare ones for these as well, if so. A name that
// is such a pattern itself matches that and the longer ones.
func below(name string, bare bool) []string {
	list := []string{name}
	rest := strings.TrimPrefix(name, ".")
	for {
		_, parent, found := strings.Cut(rest, ".")
		if !found {
			return list
		}
		if list = append(list, "."+parent); bare {
			list = append(list, parent)
		}
		rest = parent
	}
}

// matching are the rules for a site's connection to a host, the most specific first, and
// from which on they are those by MX.
func (s *ruleSet) matching(site, host string) (list []*Rule, mx int) {
	base, domain, ruled := strings.Cut(site, domainMark)
	add := func(m Match) {
		if r := s.rules[m]; r != nil {
			list = append(list, r)
		}
	}
	add(Match{Site: strings.ToLower(base)})
	if ruled {
		for _, pattern := range below(domain, false) {
			add(Match{Domain: pattern})
		}
	}
	mx = len(list)
	for _, pattern := range below(strings.ToLower(host), true) {
		add(Match{MX: pattern})
	}
	return list, mx
}

// at is what holds for a site's connection to a host.
func (s *ruleSet) at(site, host string) HostLimits {
	l := HostLimits{}
	list, mx := s.matching(site, host)
	for i, r := range list {
		l.Connections = first(l.Connections, r.Connections)
		l.Rate = first(l.Rate, r.Rate)
		l.Messages = first(l.Messages, r.Messages)
		l.Recipients = first(l.Recipients, r.Recipients)
		l.Shared = l.Shared || r.Shared
		if r.Group == "" || slices.Contains(l.Groups, r.Group) {
			continue
		}
		hasMX := slices.ContainsFunc(list[min(mx, i):i], func(before *Rule) bool { return before.Group != "" })
		if len(l.Groups) == 0 || i >= mx && !hasMX {
			l.Groups = append(l.Groups, r.Group)
		}
	}
	l.Connections = first(l.Connections, s.limits.PerSite)
	l.Rate = first(l.Rate, s.limits.Rate)
	l.Messages = first(l.Messages, s.limits.Messages)
	l.Recipients = first(l.Recipients, s.limits.Recipients)
	return l
}

func first[T int | float64](a, b T) T {
	if a != 0 {
		return a
	}
	return b
}

// Host returns the limits of a site's connections to a host, in the form of package
// session.
func (s *ruleSet) Host(site, host string) session.HostLimits {
	key := [2]string{site, host}
	s.mu.Lock()
	defer s.mu.Unlock()
	l, known := s.known[key]
	if known {
		return l
	}
	at := s.at(site, host)
	l = session.HostLimits{PerSite: at.Connections, Messages: at.Messages, Recipients: at.Recipients, Shared: at.Shared}
	for _, name := range at.Groups {
		g := s.groups[name]
		l.Groups = append(l.Groups, session.GroupLimits{Name: name, Connections: g.Connections, Rate: g.Rate, Shared: g.Shared})
	}
	if len(s.known) >= maxRuled {
		clear(s.known)
	}
	s.known[key] = l
	return l
}

// sharedRules are rules with the shares in place of what agents have in common.
type sharedRules struct {
	*ruleSet
	shares *share.Set
}

// Host returns the limits of a site's connections to a host.
func (s sharedRules) Host(site, host string) session.HostLimits {
	l := s.ruleSet.Host(site, host)
	now := time.Now()
	if l.Shared {
		most, _ := s.shares.Of(now, share.Limit{Name: site})
		l.PerSite = min(l.PerSite, most)
	}
	for i := range l.Groups {
		if !l.Groups[i].Shared {
			continue
		}
		most, rate := s.shares.Of(now, share.Limit{Name: l.Groups[i].Name, Group: true})
		if most == 0 {
			l.PerSite = 0
			continue
		}
		l.Groups = slices.Clone(l.Groups)
		l.Groups[i].Rate = rate
		if l.Groups[i].Connections > 0 {
			l.Groups[i].Connections = most
		}
	}
	return l
}

// site is what holds at a site, by its hosts of highest preference: the least of what
// holds at each.
func (s *ruleSet) site(key string) sched.SiteLimits {
	var least sched.SiteLimits
	var names []string
	for _, host := range bestHosts(key) {
		at := s.at(key, host)
		if least.PerSite == 0 || at.Connections < least.PerSite {
			least.PerSite = at.Connections
		}
		if at.Rate > 0 && (least.Rate == 0 || at.Rate < least.Rate) {
			least.Rate = at.Rate
		}
		least.Shared = least.Shared || at.Shared
		for _, name := range at.Groups {
			if !slices.Contains(names, name) {
				g := s.groups[name]
				names = append(names, name)
				least.Groups = append(least.Groups, sched.GroupLimits{Name: name, Connections: g.Connections, Rate: g.Rate, Shared: g.Shared})
			}
		}
	}
	return least
}

// bestHosts are the names of the hosts of highest preference in the key of a site.
func bestHosts(key string) (list []string) {
	base, _, _ := strings.Cut(key, domainMark)
	for {
		host, rest, more := strings.Cut(base, ",")
		name, last := strings.CutSuffix(host, ";")
		name, _, _ = strings.Cut(name, ":")
		list = append(list, name)
		if last || !more {
			return list
		}
		base = rest
	}
}

// String describes the limits for people.
func (l HostLimits) String() string {
	text := fmt.Sprintf("%d connections", l.Connections)
	if l.Rate > 0 {
		text += fmt.Sprintf(", %v messages a second", l.Rate)
	}
	if l.Messages > 0 {
		text += fmt.Sprintf(", %d messages a connection", l.Messages)
	}
	if l.Recipients > 0 {
		text += fmt.Sprintf(", %d recipients a transaction", l.Recipients)
	}
	if l.Shared {
		text += ", shared"
	}
	for _, name := range l.Groups {
		text += ", group " + name
	}
	return text
}

// namesIn returns the names by which a site can be suspended in addition to its own:
// those of its hosts, and that of all mail for them if the site is only a part of it.
func namesIn(site string) []string {
	whole, _, _ := strings.Cut(site, domainMark)
	names := strings.FieldsFunc(whole, func(r rune) bool { return r == ',' || r == ';' })
	for i, name := range names {
		names[i], _, _ = strings.Cut(name, ":")
	}
	return append(names, whole)
}
