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

// Limits limit the load that an agent puts on receivers and on its own machine. Waiting
// for a limit never counts as an attempt.
type Limits struct {
	// Connections is the maximum number of connections in total, including those being
	// opened. Default: 500.
	Connections int

	// PerSite is the maximum number of connections to one site, which is all
	// destinations with the same hosts. Default: 20. Below it the number adapts to the
	// site: it grows with each delivery, and halves when hosts fail or say "later".
	PerSite int

	// PerHost and PerAddress are the maximum numbers of connections to one host name
	// and to one address, for all sites together. Default: PerSite.
	PerHost, PerAddress int

	// Rate is the maximum number of messages per second offered to one site. Default:
	// no limit.
	Rate float64

	// Messages is the maximum number of messages on one connection. Default: no limit
	// except the host's own (RFC 9422).
	Messages int

	// ConnectionLife is the age up to which a connection may carry another message.
	// Default: 5 min.
	ConnectionLife time.Duration

	// Recipients is the maximum number of recipients in one transaction. Default: 100.
	// A lower limit stated by a host is obeyed; a higher one has no effect.
	Recipients int
}

// Rule sets limits for part of the mail. If several rules match, each field comes from
// the most specific one that sets it: a rule by site before one by domain before one by
// MX, and the longer of two of the same kind. Fields that no rule sets are those of
// Limits.
type Rule struct {
	// Match says which mail the rule is for.
	Match Match

	// Connections is the maximum number of connections to one site, instead of
	// Limits.PerSite. If Limits.PerHost or PerAddress is lower, it is raised to this
	// number for the site.
	Connections int

	// Rate is the maximum number of messages per second offered to one site.
	Rate float64

	// Messages is the maximum number of messages on one connection.
	Messages int

	// Recipients is the maximum number of recipients in one transaction.
	Recipients int

	// Shared makes the site's connections and rate, whichever rules set them, those of all
	// agents of one queue together, if the queue can share them (queue.Sharer); otherwise
	// they are each agent's. An agent uses the part that the queue gives it. If it cannot
	// ask the queue for 20 s, it begins nothing at the site until it can.
	Shared bool

	// Group names a group of Settings.Groups whose limits apply to the mail as well.
	Group string
}

// Match says which mail a Rule is for. Exactly one field must be set.
type Match struct {
	// Site is the name of a site, as Explain shows it. For a site with a single host,
	// it is the host's name.
	Site string

	// Domain is a recipient domain, or with a leading dot, all its subdomains. Their
	// mail is then a site of its own, separate from other mail for the same hosts. To
	// suspend the site of these hosts suspends it, too.
	Domain string

	// MX is the name of a host that mail is sent to. All hosts below that name match, too;
	// with a leading dot, only those match. A rule that matches a host of highest
	// preference applies to the site. If rules differ for several such hosts, the lower
	// limits apply.
	MX string
}

// Group has limits that several sites share, such as those of one provider. They apply
// in addition to the limits of each site, and are counted by the actual host: a rule by
// MX with a group counts each connection to a host that it matches, whatever other
// rules match the mail. A zero field is no limit.
type Group struct {
	// Connections is the maximum number of connections.
	Connections int

	// Rate is the maximum number of messages per second.
	Rate float64

	// Shared makes both those of all agents of one queue together, as Rule.Shared does.
	Shared bool
}

// String returns the match as it is written in messages: "site mx.example.net".
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

// Defaults of Limits.
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

// problems returns the errors in fields.
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
		list = append(list, fmt.Errorf("delivery.Limits.Rate: %v is not a rate", l.Rate))
	}
	if l.ConnectionLife < 0 {
		list = append(list, fmt.Errorf("delivery.Limits.ConnectionLife: %v is negative", l.ConnectionLife))
	}
	return list
}

// ruleProblems returns the errors in rules and groups.
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
			wrong(".Rate: %v is not a rate", r.Rate)
		}
		if _, known := groups[r.Group]; r.Group != "" && !known {
			wrong(".Group: no group named %q", r.Group)
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
			list = append(list, fmt.Errorf("delivery.Settings.Groups[%q].Rate: %v is not a rate", name, g.Rate))
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
