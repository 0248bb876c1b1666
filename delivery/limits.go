package delivery

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/internal/address"
)

// Limits bound what an agent asks of receivers and of its own machine. Waiting for a
// limit never counts as an attempt.
type Limits struct {
	// Connections is how many may be open or being opened in total. Default: 500.
	Connections int

	// PerSite is how many to one site, which is all destinations with the same
	// hosts. Default: 20. Below it the number adapts to the site: it grows with each
	// delivery, and halves when hosts fail or say "later".
	PerSite int

	// PerHost and PerAddress are how many to one host name and to one address,
	// whatever the site. Default: PerSite.
	PerHost, PerAddress int

	// Rate is how many messages a second are offered to one site. Default: no limit.
	Rate float64

	// Messages is how many go over one connection. Default: no limit but the host's
	// own (RFC 9422).
	Messages int

	// ConnectionLife is how old a connection may be to carry another message.
	// Default: 5 min.
	ConnectionLife time.Duration

	// Recipients is how many one transaction has. Default: 100. A host that states
	// a lower limit is obeyed, and one that states a higher one gets no more.
	Recipients int
}

// Rule sets limits for part of the mail. If several rules match, each field is that of
// the most specific one that sets it: a rule by site comes before one by domain, and that
// before one by MX; of two of a kind, the longer. Fields that no rule sets are as in
// Limits.
type Rule struct {
	// Match says what mail the rule is for.
	Match Match

	// Connections is how many may be open to one site, in place of Limits.PerSite. If
	// Limits.PerHost or PerAddress is lower, it is raised to that for the site.
	Connections int

	// Rate is how many messages a second are offered to one site.
	Rate float64

	// Messages is how many go over one connection.
	Messages int

	// Recipients is how many one transaction has.
	Recipients int

	// Group is the group, of Settings.Groups, whose limits hold for the mail as well.
	Group string
}

// Match is what a Rule is for. Exactly one field is set.
type Match struct {
	// Site is a site by its name, as Explain shows it. That of a single host is the
	// host's name.
	Site string

	// Domain is a recipient domain, or, with a leading dot, all its subdomains. Their
	// mail counts as a site of its own, beside other mail for the same hosts. To suspend
	// the site of these hosts suspends it, too.
	Domain string

	// MX is the name of a host that is connected to. All hosts below that name match, too;
	// with a leading dot, only those match. A rule that matches a host of highest preference holds
	// for the site; if such hosts differ, the lower limits do.
	MX string
}

// Group is limits that several sites have in common, those of one provider for
// instance. They hold beside the limits of each site, and count by the host that is
// connected to: a rule by MX with a group counts each connection to a host that it
// matches, whatever other rules say of the mail. A zero field is no limit.
type Group struct {
	// Connections is how many may be open.
	Connections int

	// Rate is how many messages a second are offered.
	Rate float64
}

// String is the match as it is written in messages: "site mx.example.net".
func (m Match) String() string {
	switch {
	case m.Site != "":
		return "site " + m.Site
	case m.Domain != "":
		return "domain " + m.Domain
	default:
		return "mx " + m.MX
	}
}

// The values that zero stands for in Limits.
const (
	defaultConnections    = 500
	defaultPerSite        = 20
	defaultConnectionLife = 5 * time.Minute
)

func (l Limits) withDefaults() Limits {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&l.Connections, defaultConnections)
	set(&l.PerSite, defaultPerSite)
	set(&l.PerHost, l.PerSite)
	set(&l.PerAddress, l.PerSite)
	set(&l.Recipients, attempt.DefaultRecipients)
	if l.ConnectionLife == 0 {
		l.ConnectionLife = defaultConnectionLife
	}
	return l
}

// problems are the fields that make no sense.
func (l *Limits) problems() (list []error) {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"Connections", l.Connections},
		{"PerSite", l.PerSite},
		{"PerHost", l.PerHost},
		{"PerAddress", l.PerAddress},
		{"Messages", l.Messages},
		{"Recipients", l.Recipients},
	} {
		if f.value < 0 {
			list = append(list, fmt.Errorf("delivery.Limits.%s: %d is negative", f.name, f.value))
		}
	}
	if !isRate(l.Rate) {
		list = append(list, fmt.Errorf("delivery.Limits.Rate: %v is no rate", l.Rate))
	}
	if l.ConnectionLife < 0 {
		list = append(list, fmt.Errorf("delivery.Limits.ConnectionLife: %v is negative", l.ConnectionLife))
	}
	return list
}

// ruleProblems are what makes no sense of rules and groups.
func ruleProblems(rules []Rule, groups map[string]Group) (list []error) {
	seen := make(map[Match]int)
	for i := range rules {
		r := &rules[i]
		wrong := func(format string, args ...any) {
			list = append(list, fmt.Errorf("delivery.Settings.Rules[%d]"+format, append([]any{i}, args...)...))
		}
		m, err := r.Match.canonical()
		if err != nil {
			wrong(".Match: %w", err)
		} else if first, known := seen[m]; known {
			wrong(".Match: %v is that of Rules[%d], too", r.Match, first)
		} else {
			seen[m] = i
		}
		for _, f := range []struct {
			name  string
			value int
		}{{"Connections", r.Connections}, {"Messages", r.Messages}, {"Recipients", r.Recipients}} {
			if f.value < 0 {
				wrong(".%s: %d is negative", f.name, f.value)
			}
		}
		if !isRate(r.Rate) {
			wrong(".Rate: %v is no rate", r.Rate)
		}
		if _, known := groups[r.Group]; r.Group != "" && !known {
			wrong(".Group: there is no group %q", r.Group)
		}
		if (*r == Rule{Match: r.Match}) {
			wrong(": it sets nothing")
		}
	}
	for _, name := range sortedNames(groups) {
		g := groups[name]
		switch {
		case name == "":
			list = append(list, errors.New("delivery.Settings.Groups: one has no name"))
		case g.Connections < 0:
			list = append(list, fmt.Errorf("delivery.Settings.Groups[%q].Connections: %d is negative", name, g.Connections))
		case !isRate(g.Rate):
			list = append(list, fmt.Errorf("delivery.Settings.Groups[%q].Rate: %v is no rate", name, g.Rate))
		}
	}
	return list
}

// canonical is the match in the form in which names are compared.
func (m Match) canonical() (Match, error) {
	given := 0
	for _, s := range []string{m.Site, m.Domain, m.MX} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return m, errors.New("not exactly one of Site, Domain and MX is set")
	}
	for _, name := range []*string{&m.Domain, &m.MX} {
		if *name == "" {
			continue
		}
		bare, below := strings.CutPrefix(*name, ".")
		d, err := address.ParseDomain(bare)
		if err != nil {
			return m, err
		}
		if *name = d.String(); below {
			*name = "." + *name
		}
	}
	m.Site = strings.ToLower(m.Site)
	return m, nil
}

func isRate(rate float64) bool { return rate >= 0 && !math.IsInf(rate, 0) }

func sortedNames(groups map[string]Group) []string {
	names := make([]string, 0, len(groups))
	for name := range groups {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
