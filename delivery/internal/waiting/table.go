package waiting

import (
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Table has suspensions, for lookup. It is never changed, and nil has none.
type Table struct {
	list         []queue.Suspension
	destinations map[string]*queue.Suspension
	tenants      map[string]*queue.Suspension
	sites        map[string]*queue.Suspension
	end          time.Time
}

// NewTable makes a table of what a queue says is suspended.
func NewTable(list []queue.Suspension) *Table {
	if len(list) == 0 {
		return nil
	}
	t := &Table{
		list: slices.Clone(list), destinations: map[string]*queue.Suspension{},
		tenants: map[string]*queue.Suspension{}, sites: map[string]*queue.Suspension{},
	}
	for i := range t.list {
		s := &t.list[i]
		switch s.Kind {
		case queue.OfSite:
			t.sites[s.Name] = s
		case queue.OfTenant:
			t.tenants[s.Name] = s
		default:
			t.destinations[s.Name] = s
		}
		if !s.Until.IsZero() && (t.end.IsZero() || s.Until.Before(t.end)) {
			t.end = s.Until
		}
	}
	return t
}

// Equal reports whether two tables say the same.
func (t *Table) Equal(o *Table) bool {
	if t == nil || o == nil {
		return t == o
	}
	return slices.EqualFunc(t.list, o.list, func(a, b queue.Suspension) bool {
		return a.Subject == b.Subject && a.Reason == b.Reason && a.Since.Equal(b.Since) && a.Until.Equal(b.Until)
	})
}

// End is when the first of it is over; zero is never.
func (t *Table) End() time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.end
}

// Mail returns the suspension that applies to mail of a tenant for a destination, or
// nil if there is none.
func (t *Table) Mail(now time.Time, destination, tenant string) *queue.Suspension {
	if t == nil {
		return nil
	}
	if s := t.destinations[destination]; s != nil && !s.Over(now) {
		return s
	}
	if s := t.tenants[tenant]; s != nil && !s.Over(now) {
		return s
	}
	return nil
}

// Site is the suspension that keeps back what goes to a site: one of the site, by its
// name, or of one of its hosts.
func (t *Table) Site(now time.Time, site string, hosts func(yield func(string) bool)) *queue.Suspension {
	if t == nil || len(t.sites) == 0 {
		return nil
	}
	if s := t.sites[site]; s != nil && !s.Over(now) {
		return s
	}
	for name := range hosts {
		if s := t.sites[name]; s != nil && !s.Over(now) {
			return s
		}
	}
	return nil
}

// Sites reports whether any site is suspended.
func (t *Table) Sites() bool { return t != nil && len(t.sites) > 0 }

// Tenants reports whether any tenant is suspended.
func (t *Table) Tenants() bool { return t != nil && len(t.tenants) > 0 }

// Has reports whether a subject is suspended.
func (t *Table) Has(now time.Time, subject queue.Subject) bool {
	if t == nil {
		return false
	}
	s := map[queue.SubjectKind]map[string]*queue.Suspension{
		queue.OfDestination: t.destinations, queue.OfTenant: t.tenants, queue.OfSite: t.sites,
	}[subject.Kind][subject.Name]
	return s != nil && !s.Over(now)
}

// Names are the destinations and the tenants that are suspended.
func (t *Table) Names(now time.Time) (destinations, tenants []string) {
	if t == nil {
		return nil, nil
	}
	for i := range t.list {
		switch s := &t.list[i]; {
		case s.Over(now):
		case s.Kind == queue.OfDestination:
			destinations = append(destinations, s.Name)
		case s.Kind == queue.OfTenant:
			tenants = append(tenants, s.Name)
		}
	}
	return destinations, tenants
}
