package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue"
)

// match is what -match names: mail that fits all of its conditions.
type match struct {
	Domain string       `json:"domain,omitempty"`
	From   string       `json:"from,omitempty"`
	Tenant string       `json:"tenant,omitempty"`
	Class  string       `json:"class,omitempty"`
	Older  cli.Duration `json:"older,omitempty"`
}

// parseMatch parses 'domain=...,from=...,older=2d,tenant=...,class=...'.
func parseMatch(text string) (*match, error) {
	m := new(match)
	seen := map[string]bool{}
	for condition := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(condition), "=")
		switch {
		case !ok || value == "":
			return nil, fmt.Errorf("%q is not a condition, such as domain=example.com", condition)
		case seen[name]:
			return nil, fmt.Errorf("%s= stands twice", name)
		}
		seen[name] = true
		switch name {
		case "domain":
			destination, err := queue.ParseDestination(value)
			if err != nil {
				return nil, fmt.Errorf("domain=%s: %w", value, err)
			}
			m.Domain = destination
		case "from":
			m.From = value
		case "tenant":
			m.Tenant = value
		case "class":
			if _, ok := statuses(value); !ok {
				return nil, fmt.Errorf("class=%s: neither an enhanced status code nor the beginning of one, such as 4.7, nor one of %s",
					value, strings.Join(classNames(), ", "))
			}
			m.Class = value
		case "older":
			age, err := cli.ParseDuration(value)
			if err != nil {
				return nil, fmt.Errorf("older=%s: %w", value, err)
			}
			m.Older = cli.Duration(age)
		default:
			return nil, fmt.Errorf("unknown condition %s=; use domain, from, older, tenant or class", name)
		}
	}
	return m, nil
}

// selection is the same for the queue.
func (m *match) selection(now time.Time) queue.Selection {
	s := queue.Selection{Destination: m.Domain, From: m.From, Tenant: m.Tenant}
	s.Status, _ = statuses(m.Class)
	if m.Older > 0 {
		s.Before = now.Add(-time.Duration(m.Older))
	}
	return s
}
