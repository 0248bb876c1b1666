package mx

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// viaMX makes the route out of an MX set.
func (s *search) viaMX(ctx context.Context, answer *Answer) error {
	r := s.router
	var few [8]candidate
	all := r.arrange(s.candidates(few[:0], answer.MX))
	if answer.Unreadable > 0 {
		s.unreadable = &ResolveError{
			Name: answer.Name, Type: TypeMX, Kind: Malformed,
			Err: fmt.Errorf("of %d records, %d cannot be read", answer.Unreadable+len(answer.MX), answer.Unreadable),
		}
	}
	if isNull(all) && s.unreadable == nil {
		return fail(NullMX, s.route.Domain, answer.Name, nil)
	}
	// This host is removed among all records, before any limit, so that a limit
	// never hides it.
	removeSelf(all, func(c candidate) bool { return r.isSelfName(s.id, c.host) })
	picked := pick(all, r.maxHosts())
	hosts := make([]lookup, picked+s.suspects(all, picked))
	for i := range all {
		if c := &all[i]; c.looked {
			hosts[c.lookup].name, hosts[c.lookup].preference = c.host, c.preference
		}
	}
	r.lookUp(ctx, hosts)
	if s.route.Secure {
		r.askFirstSteps(ctx, hosts[:picked])
	}
	s.judge(all, hosts)
	s.assemble(all, hosts)
	if s.unreadable != nil {
		host := Host{Name: s.route.Domain, Target: s.route.Domain}
		s.leaveOut(LeftOut{Host: host, Reason: BadRecord, Err: s.unreadable})
	}
	if len(s.route.Hosts) > 0 {
		return nil
	}
	return s.nobody(all, hosts)
}

// mostSuspects limits the hosts above the limit of a route that are looked up to find
// this one. If this host is not among them, its greeting reveals it.
const mostSuspects = 64

// suspects gives places among the lookups, from the one given on, to the hosts over
// the limit that may be this one, and says how many they are: if this host is known
// by address, those at a preference that the route uses. A limit must not hide it.
func (s *search) suspects(all []candidate, from int) int {
	if len(s.own) == 0 {
		return 0
	}
	worst := -1
	for i := range all {
		if all[i].looked {
			worst = int(all[i].preference)
		}
	}
	n := 0
	for i := range all {
		c := &all[i]
		if c.out && c.reason == OverLimit && int(c.preference) <= worst && n < mostSuspects {
			c.looked, c.lookup = true, from+n
			n++
		}
	}
	return n
}

// candidates returns the records of the set as candidates, with those that cannot be a
// host marked as left out.
func (s *search) candidates(all []candidate, set []MX) []candidate {
	all = slices.Grow(all, len(set))
	for _, record := range set {
		c := candidate{host: record.Host, preference: record.Preference}
		if record.Host == "" {
			c.leave(NullAmongOthers)
		} else if name, err := address.ParseHost(record.Host); err != nil {
			c.leave(NotAName)
		} else {
			c.host = name
		}
		all = append(all, c)
	}
	return all
}

// isNull is whether every record is a null MX. RFC 7505 section 3 wants exactly
// one of preference 0; others alone mean the same.
func isNull(all []candidate) bool {
	return !slices.ContainsFunc(all, func(c candidate) bool { return c.host != "" })
}

// judge takes out the candidates whose addresses speak against them.
func (s *search) judge(all []candidate, hosts []lookup) {
	for i := range hosts {
		hosts[i].standing = s.router.standingOf(s.id, s.own, &hosts[i])
	}
	removeSelf(all, func(c candidate) bool { return c.looked && hosts[c.lookup].standing == self })
	for i := range all {
		c := &all[i]
		if c.out {
			continue
		}
		switch h := &hosts[c.lookup]; {
		case h.standing == usable && h.firstErr == nil:
		case h.standing == refusedAddrs:
			c.leave(AddressRefused)
		case h.failure() != nil:
			c.leave(LookupFailed)
		default:
			c.leave(HasNoAddress)
		}
	}
}

// assemble fills the route: the hosts that are still in with their addresses,
// the others with their reasons.
func (s *search) assemble(all []candidate, hosts []lookup) {
	r := s.router
	perHost, budget := r.maxAddrsPerHost(), r.maxAddrs()
	in := 0
	for i := range all {
		if !all[i].out {
			in++
		}
	}
	if in > 0 {
		s.route.Hosts = make([]Host, 0, in)
	}
	for i := range hosts {
		s.route.TTL = min(s.route.TTL, hosts[i].ttl())
	}
	total := 0
	addrs := make([]netip.Addr, 0, min(in*perHost, 2*budget))
	for i := range all {
		c := &all[i]
		if c.out {
			s.leaveOut(s.leftOut(c, hosts))
			continue
		}
		h := &hosts[c.lookup]
		start := len(addrs)
		addrs = r.choose(addrs, h, perHost)
		s.route.Hosts = append(s.route.Hosts, h.host(addrs[start:len(addrs):len(addrs)]))
		total += len(addrs) - start
	}
	if total > budget {
		shareAddrs(s.route.Hosts, budget)
	}
}

// leftOut returns the entry of a candidate that was left out, with what is known about
// it.
func (s *search) leftOut(c *candidate, hosts []lookup) LeftOut {
	l := LeftOut{Host: Host{Name: c.host, Target: c.host, Preference: c.preference}, Reason: c.reason}
	if c.looked {
		h := &hosts[c.lookup]
		l.Host = h.host(nil)
		if c.reason == LookupFailed {
			l.Err = h.failure()
		}
	}
	return l
}

// nobody returns why there is no host: this host is the best one (RFC 5321 section
// 5.1), or those better than it are unusable, for now or permanently.
func (s *search) nobody(all []candidate, hosts []lookup) *Error {
	if s.unreadable != nil {
		return s.none(DNSTrouble, s.unreadable.Name, s.unreadable)
	}
	unasked, tried := 0, false
	for i := range all {
		c := &all[i]
		switch c.reason {
		case LookupFailed:
			e := failLookup(s.route.Domain, hosts[c.lookup].failure())
			e.LeftOut = s.route.LeftOut
			return e
		case OverLimit:
			unasked++
		case HasNoAddress, AddressRefused:
			tried = true
		case IsSelf:
			if !tried && unasked == 0 {
				var why error
				if c.looked {
					why = s.router.whySelf(s.id, s.own, &hosts[c.lookup])
				}
				return s.none(MailLoop, c.host, why)
			}
		}
	}
	if unasked > 0 {
		return s.none(DNSTrouble, "", fmt.Errorf("none of %d hosts can be reached, %d more were not asked about", len(hosts), unasked))
	}
	return s.none(NoUsableHost, "", nil)
}
