package trust_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// dnskey is a key of a zone.
type dnskey struct{ id, algorithm int }

// signing is how a zone is signed: what it has at a moment.
type signing struct {
	ds        []dnskey // the keys that the zone above vouches for
	keys      []dnskey // DNSKEY records
	keysBy    []dnskey // whose signatures these have
	recordsBy []dnskey // whose signatures all other records have
	expired   bool     // the signatures have run out
}

// validator answers for e.test as a resolver does that validates it by what it has cached
// (RFC 4035 section 5): each answer is secure, insecure, or fails. It stands for such a
// resolver where time is virtual; with real ones in its place, see package peers.
type validator struct {
	mx.Resolver
	strict                  bool          // it wants a signature of each algorithm that DS records have
	dsTTL, keysTTL, dataTTL time.Duration // of the zone's records

	mu      sync.Mutex
	zone    signing
	ds      fetched[[]dnskey]
	keys    fetched[validKeys]
	answers map[string]fetched[mx.Answer]
}

// fetched is something in the cache of a resolver.
type fetched[T any] struct {
	what  T
	until time.Time
}

func (f *fetched[T]) valid() bool { return time.Now().Before(f.until) }

// validKeys are keys that were validated, and the algorithms of the DS records by which.
type validKeys struct {
	keys       []dnskey
	algorithms []int
}

// change changes how the zone is signed.
func (v *validator) change(f func(z *signing)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(&v.zone)
}

// Resolve implements mx.Resolver.
func (v *validator) Resolve(ctx context.Context, name string, t mx.Type) (mx.Answer, error) {
	if name != "e.test" && !strings.HasSuffix(name, ".e.test") {
		return v.Resolver.Resolve(ctx, name, t)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	key := name + " " + t.String()
	if known := v.answers[key]; known.valid() {
		known.what.TTL = time.Until(known.until)
		return known.what, nil
	}
	a, err := v.Resolver.Resolve(ctx, name, t)
	if err != nil {
		return a, err
	}
	secure, bogus := v.validate()
	if bogus {
		return mx.Answer{}, &mx.ResolveError{Name: name, Type: t, Kind: mx.ServFail}
	}
	a.Secure, a.TTL = secure, v.dataTTL
	if v.answers == nil {
		v.answers = make(map[string]fetched[mx.Answer])
	}
	v.answers[key] = fetched[mx.Answer]{a, time.Now().Add(v.dataTTL)}
	return a, nil
}

// validate reports whether records that are fetched now are secure, or bogus.
func (v *validator) validate() (secure, bogus bool) {
	if now := time.Now(); !v.ds.valid() {
		v.ds = fetched[[]dnskey]{slices.Clone(v.zone.ds), now.Add(v.dsTTL)}
	}
	if !v.keys.valid() {
		algorithms := v.algorithms()
		if len(v.ds.what) == 0 {
			return false, false
		}
		if v.zone.expired || !v.signed(v.zone.keysBy, both(v.ds.what, v.zone.keys), algorithms) {
			return false, true
		}
		v.keys = fetched[validKeys]{validKeys{slices.Clone(v.zone.keys), algorithms}, time.Now().Add(v.keysTTL)}
	}
	if v.zone.expired || !v.signed(v.zone.recordsBy, v.keys.what.keys, v.keys.what.algorithms) {
		return false, true
	}
	return true, false
}

// algorithms are those of the DS records.
func (v *validator) algorithms() (list []int) {
	for _, k := range v.ds.what {
		if !slices.Contains(list, k.algorithm) {
			list = append(list, k.algorithm)
		}
	}
	return list
}

// signed reports whether signatures are enough of those that trusted keys make.
func (v *validator) signed(by, trusted []dnskey, algorithms []int) bool {
	good := both(by, trusted)
	if !v.strict {
		return len(good) > 0
	}
	for _, a := range algorithms {
		if !slices.ContainsFunc(good, func(k dnskey) bool { return k.algorithm == a }) {
			return false
		}
	}
	return len(good) > 0
}

// both are the keys that are in two lists.
func both(a, b []dnskey) (list []dnskey) {
	for _, k := range a {
		if slices.Contains(b, k) {
			list = append(list, k)
		}
	}
	return list
}
