package postgres

import (
	"cmp"
	"math/bits"
)

// name is that of a tenant or a destination.
type name struct {
	kind nameKind
	name string
}

type nameKind int

const (
	ofTenant nameKind = iota
	ofDestination
)

func (n name) compare(o name) int {
	return cmp.Or(cmp.Compare(n.kind, o.kind), cmp.Compare(n.name, o.name))
}

func (l laneKey) toTenant() name      { return name{ofTenant, l.tenant} }
func (l laneKey) toDestination() name { return name{ofDestination, l.destination} }

// to is the tenant or the destination of a lane.
func (l laneKey) to(kind nameKind) name {
	if kind == ofTenant {
		return l.toTenant()
	}
	return l.toDestination()
}

// admission is what a claim takes from: all lanes but those of some destinations and
// tenants, or only those of some destinations.
type admission struct {
	only, except, exceptTenants map[string]bool

	back map[name]place // what it leaves out for a moment: see front.back
}

func newAdmission(only, except, exceptTenants []string) *admission {
	set := func(names []string) map[string]bool {
		m := make(map[string]bool, len(names))
		for _, name := range names {
			m[name] = true
		}
		return m
	}
	return &admission{only: set(only), except: set(except), exceptTenants: set(exceptTenants)}
}

// admits reports whether the claim may take from a lane.
func (a *admission) admits(l laneKey) bool {
	if len(a.only) > 0 && !a.only[l.destination] || a.except[l.destination] || a.exceptTenants[l.tenant] {
		return false
	}
	return len(a.back) == 0 || !a.isBack(l.toTenant()) && !a.isBack(l.toDestination())
}

func (a *admission) isBack(n name) bool {
	_, back := a.back[n]
	return back
}

// leavesOutName reports whether the claim takes nothing of a tenant or to a destination.
func (a *admission) leavesOutName(n name) bool {
	if n.kind == ofTenant {
		return a.exceptTenants[n.name] || a.isBack(n)
	}
	return a.except[n.name] || a.isBack(n)
}

// leavesOut returns the name for which the claim leaves a lane out, if it does.
func (a *admission) leavesOut(l laneKey) (of name, out bool) {
	switch {
	case a.except[l.destination]:
		return l.toDestination(), true
	case a.exceptTenants[l.tenant]:
		return l.toTenant(), true
	}
	return name{}, false
}

// split returns the tenants and the destinations of a list.
func split(list []name) (tenants, destinations []string) {
	for _, n := range list {
		if n.kind == ofTenant {
			tenants = append(tenants, n.name)
		} else {
			destinations = append(destinations, n.name)
		}
	}
	return tenants, destinations
}

// turns says of about every second claim that it is one, in an order with which no regular
// order of claims keeps step.
type turns uint64

func (t *turns) next() bool {
	*t++
	return bits.OnesCount64(uint64(*t))%2 == 1
}
