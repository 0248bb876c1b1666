//go:build linux

package peers_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tangle is certificates of which some have a name, a key, or both in common.
func tangle(t *testing.T) (hosts, others []string, all map[string]*issued) {
	names := forNames(baseDomain)
	rootA, rootB := issue(t, nil, "root A", anAuthority), issue(t, nil, "root B", anAuthority)
	middle := issue(t, rootA, "middle", anAuthority)
	lower := issue(t, middle, "lower", anAuthority)
	host := issue(t, middle, baseDomain, names)
	all = map[string]*issued{
		"root A": rootA, "root B": rootB, "middle": middle, "lower": lower, "host": host,
		"root A again":                       issueFor(t, nil, rootA.key, "root A", anAuthority),
		"root A by root B":                   issueFor(t, rootB, rootA.key, "root A", anAuthority),
		"middle by root B":                   issueFor(t, rootB, middle.key, "middle", anAuthority),
		"middle, expired":                    issueFor(t, rootA, middle.key, "middle", anAuthority, over),
		"middle, another key":                issue(t, rootA, "middle", anAuthority),
		"lower, nothing below":               issueFor(t, middle, lower.key, "lower", anAuthority, noPathBelow),
		"host by lower":                      issue(t, lower, baseDomain, names),
		"host by lower, the same key":        issueFor(t, lower, host.key, baseDomain, names),
		"host by itself":                     issueFor(t, nil, host.key, baseDomain, names),
		"host by itself, and an authority":   issueFor(t, nil, host.key, baseDomain, names, anAuthority),
		"host, expired":                      issue(t, middle, baseDomain, names, over),
		"host by root A":                     issue(t, rootA, baseDomain, names),
		"another host with another's issuer": issue(t, rootB, "other.test", forNames("other.test")),
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(name, "host") {
			hosts = append(hosts, name)
		} else {
			others = append(others, name)
		}
	}
	return hosts, append(others, "host"), all
}

// drawn is a random case.
type drawn struct {
	shown
	records []string
	what    []string // the records are about
}

func draw(rnd *rand.Rand, hosts, others []string, all map[string]*issued) *drawn {
	sent := []string{hosts[rnd.IntN(len(hosts))]}
	for range rnd.IntN(5) {
		sent = append(sent, others[rnd.IntN(len(others))])
	}
	d := &drawn{shown: shown{name: strings.Join(sent, ", "), base: baseDomain}}
	for _, name := range sent {
		d.chain = append(d.chain, all[name])
	}
	for range 1 + rnd.IntN(2) {
		about, usage := others[rnd.IntN(len(others))], 2
		if len(sent) > 1 && rnd.IntN(4) > 0 {
			about = sent[1+rnd.IntN(len(sent)-1)]
		}
		if rnd.IntN(6) == 0 {
			usage, about = 3, sent[rnd.IntN(len(sent))]
		}
		selector, matching := rnd.IntN(2), rnd.IntN(3)
		d.records = append(d.records, tlsa(usage, selector, matching, all[about]))
		d.what = append(d.what, fmt.Sprintf("%d %d %d of %s", usage, selector, matching, about))
	}
	return d
}

// listed are the cases of which we say something else than ldns-dane, and why.
func (d *drawn) listed(ours, theirs string) (why string, is bool) {
	about := strings.Join(d.what, ", ")
	same := false // two certificates of one name and key
	for i, a := range d.chain {
		for _, b := range d.chain[i+1:] {
			same = same || bytes.Equal(a.cert.RawSubject, b.cert.RawSubject)
		}
	}
	switch {
	case len(d.chain) == 1 && strings.Contains(about, "2 0 0"):
		return "RFC 7671 section 5.2.2: an authority that the record has whole need not be sent", ours == "authenticated"
	case strings.Contains(about, "expired") && ours == "authenticated":
		return "RFC 5280 section 6.1.1: an anchor of trust is a name and a key, not dates", true
	case same && ours == "authenticated":
		return "RFC 5280 section 6.1: of several paths, one that is valid is enough", true
	case strings.Contains(about, "2 1 0") && ours == "authenticated":
		return "RFC 7671 section 5.2.3: the key has signed the last certificate that was sent", strings.HasPrefix(d.name, "host by itself")
	case same && ours == "refused" && strings.Contains(about, "2 1 0"):
		return "RFC 7671 section 5.2.3: the key alone counts if no certificate was sent that has it", strings.HasPrefix(d.name, "host by itself")
	}
	return "", false
}

// TestDANEOfTangledChains holds our verdicts on random chains, of certificates that are easily
// taken for one another, to those of ldns-dane.
func TestDANEOfTangledChains(t *testing.T) {
	t.Parallel()
	cases := 60
	if os.Getenv("NEXTHOP_LONG") != "" {
		cases = 5000
	}
	rnd := rand.New(rand.NewPCG(8, 0))
	hosts, others, all := tangle(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	turns := make(chan struct{}, 4)
	said, known := map[string]int{}, map[string]int{}
	for n := range cases {
		d, dir := draw(rnd, hosts, others, all), t.TempDir()
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			ours, theirs := d.ours(t, d.records), d.ldnsSays(t, dir, d.records)
			mu.Lock()
			defer mu.Unlock()
			said[ours]++
			if ours == theirs {
				return
			}
			why, is := d.listed(ours, theirs)
			if known[why]++; !is {
				t.Errorf("TLS-37, TLS-38, TLS-40 case %d, chain %s, records %q: we say %s, ldns-dane %s", n, d.name, d.what, ours, theirs)
			}
		})
	}
	wg.Wait()
	t.Logf("%d cases: %v; known to differ: %v", cases, said, known)
}
