package smarthost

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/mx"
)

// offered are the records with a host and a port. A root target says that the
// service is not offered (RFC 2782).
func offered(records []mx.SRV) []mx.SRV {
	var targets []mx.SRV
	for _, r := range records {
		name, err := address.ParseHost(r.Target)
		if err != nil || r.Port == 0 {
			continue
		}
		r.Target = name
		if !slices.ContainsFunc(targets, func(t mx.SRV) bool { return t.Target == r.Target && t.Port == r.Port }) {
			targets = append(targets, r)
		}
	}
	return targets
}

// weigh puts records in order: priority ascending, and within one at random by
// weight (RFC 2782). random is uniform in [0, n), math/rand/v2 if nil.
func weigh(records []mx.SRV, random func(n int) int) []mx.SRV {
	if random == nil {
		random = rand.IntN
	}
	slices.SortStableFunc(records, func(a, b mx.SRV) int { return cmp.Compare(a.Priority, b.Priority) })
	for level := records; len(level) > 1; level = level[1:] {
		n := 1
		for n < len(level) && level[n].Priority == level[0].Priority {
			n++
		}
		i := draw(level[:n], random)
		level[0], level[i] = level[i], level[0]
	}
	return records
}

// draw returns the index of one record, drawn by weight. A weight of zero has a
// hundredth of the chance of one: RFC 2782 requires it to be very small, but not zero.
func draw(records []mx.SRV, random func(n int) int) int {
	sum := 0
	for _, r := range records {
		sum += share(r)
	}
	n := random(sum)
	for i, r := range records {
		if n -= share(r); n < 0 {
			return i
		}
	}
	return 0
}

func share(r mx.SRV) int { return 100*int(r.Weight) + 1 }
