package smarthost

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/nexthop-mail/nexthop/mx"
)

// order is the order in which to try a rule's hosts, as indexes: one without a
// preference keeps its place; the others share the remaining places, lower first
// and equals at random. random is uniform in [0, n), math/rand/v2 if nil.
func order(hosts []Host, random func(n int) int) []int {
	if random == nil {
		random = rand.IntN
	}
	places := make([]int, 0, len(hosts))
	ranked := make([]int, 0, len(hosts))
	out := make([]int, len(hosts))
	for i := range hosts {
		out[i] = i
		if _, ok := hosts[i].Preference.Value(); ok {
			places = append(places, i)
			ranked = append(ranked, i)
		}
	}
	// Shuffled as a whole and sorted stably, equals are in random order.
	for i := len(ranked) - 1; i > 0; i-- { // Fisher and Yates
		j := random(i + 1)
		ranked[i], ranked[j] = ranked[j], ranked[i]
	}
	slices.SortStableFunc(ranked, func(a, b int) int {
		return cmp.Compare(hosts[a].Preference.plus1, hosts[b].Preference.plus1)
	})
	for i, place := range places {
		out[place] = ranked[i]
	}
	return out
}

// ranking gives the hosts of a route preferences that say what their order is: equal
// if they are equals, and ascending otherwise.
type ranking struct {
	begun bool
	last  uint16     // given last
	drawn Preference // of the smart host that got it, where others may be its equals
}

// rank gives preferences to the next hops of one smart host, which are in order:
// their own as far as possible.
func (r *ranking) rank(h *Host, hops []mx.Host) {
	if len(hops) == 0 {
		return
	}
	equal := h.Lookup == LookupAddress && h.Preference != Preference{} && h.Preference == r.drawn
	for i := range hops {
		own := hops[i].Preference
		if n, ok := h.Preference.Value(); ok && i == 0 {
			own = n
		}
		if !equal {
			if r.begun && own <= r.last && r.last < math.MaxUint16 {
				own = r.last + 1
			}
			r.last, r.begun = max(own, r.last), true
		}
		// The targets of SRV records have an order that was drawn by weight.
		equal = h.Lookup == LookupMX && i+1 < len(hops) && hops[i+1].Preference == hops[i].Preference
		hops[i].Preference = r.last
	}
	r.drawn = Preference{}
	if h.Lookup == LookupAddress {
		r.drawn = h.Preference
	}
}
