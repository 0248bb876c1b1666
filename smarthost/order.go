package smarthost

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// order is the order in which to try a rule's hosts, as indexes: one without a
// preference keeps its place; the others share the remaining places, lower first
// and equals at random. random is uniform in [0, n); nil is math/rand/v2.
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
