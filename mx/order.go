package mx

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// candidate is one host of the MX set on its way into the route or out of it.
type candidate struct {
	host       string
	preference uint16
	out        bool
	reason     Reason // where out
	looked     bool   // its addresses were asked for
	lookup     int    // index of its lookup where looked
}

// leave takes a candidate out.
func (c *candidate) leave(why Reason) { c.out, c.reason = true, why }

// arrange puts candidates in order, preference ascending and equals at random
// without bias (RFC 5321 section 5.1), and drops repeated ones.
func (r *Router) arrange(all []candidate) []candidate {
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(a.preference, b.preference) })
	all = dedupe(all) // before the shuffle: a host named twice must not win more often
	random := r.Rand
	if random == nil {
		random = rand.IntN
	}
	for level := all; len(level) > 0; {
		n := levelLen(level)
		for i := n - 1; i > 0; i-- { // Fisher and Yates
			j := random(i + 1)
			level[i], level[j] = level[j], level[i]
		}
		level = level[n:]
	}
	return all
}

// levelLen is how many candidates share the preference of the first.
func levelLen(all []candidate) int {
	n := 1
	for n < len(all) && all[n].preference == all[0].preference {
		n++
	}
	return n
}

// dedupe drops repeated hosts from candidates in order: the best preference of
// a host counts.
func dedupe(all []candidate) []candidate {
	const few = 16
	if len(all) <= few {
		kept := all[:0]
		for _, c := range all {
			if !slices.ContainsFunc(kept, func(k candidate) bool { return k.host == c.host }) {
				kept = append(kept, c)
			}
		}
		return kept
	}
	seen := make(map[string]struct{}, len(all))
	kept := all[:0]
	for _, c := range all {
		if _, again := seen[c.host]; !again {
			seen[c.host] = struct{}{}
			kept = append(kept, c)
		}
	}
	return kept
}

// removeSelf takes out everything that is not better than the best candidate
// that is this host (RFC 5321 section 5.1); isSelf says which ones are. Hosts
// left out for another reason keep it, except that over a limit no longer
// matters.
func removeSelf(all []candidate, isSelf func(candidate) bool) {
	best := 0
	for best < len(all) && (all[best].out && all[best].reason != OverLimit || !isSelf(all[best])) {
		best++
	}
	if best == len(all) {
		return
	}
	level := all[best].preference
	for i := range all {
		c := &all[i]
		switch {
		case c.preference < level:
		case c.out && c.reason == OverLimit && !isSelf(*c):
			c.leave(NotBetter)
		case c.out && c.reason == OverLimit:
			c.leave(IsSelf)
		case c.out:
		case isSelf(*c):
			c.leave(IsSelf)
		default:
			c.leave(NotBetter)
		}
	}
}

// pick keeps at most limit candidates, one of each preference before a second
// of any, and gives those their places among the lookups.
func pick(all []candidate, limit int) int {
	left := 0
	for i := range all {
		if !all[i].out {
			left++
		}
	}
	spare := limit - levels(all) // what is left after each level has one
	picked := 0
	last := -1
	for i := range all {
		c := &all[i]
		if c.out {
			continue
		}
		first := last != int(c.preference)
		last = int(c.preference)
		switch {
		case left <= limit || first && picked < limit:
		case !first && spare > 0:
			spare--
		default:
			c.leave(OverLimit)
			continue
		}
		c.looked, c.lookup = true, picked
		picked++
	}
	return picked
}

// levels is how many different preferences are still in.
func levels(all []candidate) int {
	n, last := 0, -1
	for i := range all {
		if !all[i].out && last != int(all[i].preference) {
			last = int(all[i].preference)
			n++
		}
	}
	return n
}

// choose appends the addresses of h that may be dialled to addrs, at most most
// of them, the families taking turns; then it puts them in the Router's order.
func (r *Router) choose(addrs []netip.Addr, h *lookup, most int) []netip.Addr {
	start := len(addrs)
	lists := [families][]netip.Addr{h.found[six].addrs, h.found[four].addrs}
	turn := six
	if r.Order == PreferIPv4 {
		turn = four
	}
	for len(addrs)-start < most && len(lists[six])+len(lists[four]) > 0 {
		addr, rest := r.next(lists[turn], addrs[start:])
		if addr.IsValid() {
			addrs = append(addrs, addr)
		}
		lists[turn] = rest
		turn = 1 - turn
	}
	if r.Order != Alternate {
		r.sortFamilies(addrs[start:])
	}
	return addrs
}

// next is the first address of list that may be dialled and is not taken yet,
// and the list after it.
func (r *Router) next(list, taken []netip.Addr) (netip.Addr, []netip.Addr) {
	for i, addr := range list {
		addr = addr.Unmap() // with its zone, which the hosts file may give
		if r.class(plain(addr)) == reachable && !slices.Contains(taken, addr) {
			return addr, list[i+1:]
		}
	}
	return netip.Addr{}, nil
}

// sortFamilies puts the preferred family first and keeps the order within each.
func (r *Router) sortFamilies(addrs []netip.Addr) {
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int {
		if a.Is4() == b.Is4() {
			return 0
		}
		if a.Is4() == (r.Order == PreferIPv4) {
			return -1
		}
		return 1
	})
}

// shareAddrs splits a budget of addresses among hosts: each keeps one before
// any keeps a second. There are never more hosts than budget.
func shareAddrs(hosts []Host, budget int) {
	keep := make([]int, len(hosts))
	for more := true; more && budget > 0; {
		more = false
		for i := range hosts {
			if keep[i] < len(hosts[i].Addrs) && budget > 0 {
				keep[i]++
				budget--
				more = true
			}
		}
	}
	for i, n := range keep {
		hosts[i].Addrs = hosts[i].Addrs[:n:n]
	}
}
