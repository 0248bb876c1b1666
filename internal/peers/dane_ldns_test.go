//go:build linux

package peers_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/internal/peers"
)

// ldnsSays is what ldns-dane says of a chain and a set of records, both from files, so
// that it asks nobody. It knows no unusable sets: without a record of use it goes by PKIX.
func (s *shown) ldnsSays(t *testing.T, dir string, records []string) string {
	chain, zone := filepath.Join(dir, "chain.pem"), filepath.Join(dir, "tlsa.txt")
	var certs, text bytes.Buffer
	for _, one := range s.chain {
		_ = pem.Encode(&certs, &pem.Block{Type: "CERTIFICATE", Bytes: one.cert.Raw})
	}
	for _, r := range records {
		fmt.Fprintf(&text, "_25._tcp.%s. 60 IN TLSA %s\n", s.base, r)
	}
	for name, data := range map[string][]byte{chain: certs.Bytes(), zone: text.Bytes()} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Error(err)
			return ""
		}
	}
	args := []string{"-d", "-t", zone, "-c", chain, "verify", s.base, "25"}
	if !slices.ContainsFunc(records, func(r string) bool { return r[0] == '2' }) {
		args = append([]string{"-n"}, args...) // names mean nothing for usage 3 alone (RFC 7672 section 3.1.1)
	}
	cmd, err := peers.Tool("ldns", "usr/bin/ldns-dane", args...)
	if err != nil {
		t.Error(err)
		return ""
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return ""
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	err = cmd.Wait()
	switch {
	case err == nil:
		return "authenticated"
	case cmd.ProcessState.ExitCode() == 1:
		return "refused"
	}
	return fmt.Sprintf("%s: %v", out.String(), err)
}

// listedLDNS are the cases of which we say something else than ldns-dane, and why.
func listedLDNS(chain, set string, ours, theirs string) (why string, is bool) {
	if chain == "the host's alone" && set == "2 0 0 of the issuer" {
		return "RFC 7671 section 5.2.2: an authority that the record has whole need not be sent", ours == "authenticated"
	}
	return listed(chain, set, ours, theirs)
}

// TestDANEAsLDNSSees holds our verdicts on usable sets of records to those of ldns-dane.
func TestDANEAsLDNSSees(t *testing.T) {
	t.Parallel()
	other := issue(t, nil, "someone else", anAuthority)
	var wg sync.WaitGroup
	turns := make(chan struct{}, 4)
	n, known := 0, map[string]int{}
	said := map[string]int{}
	var mu sync.Mutex
	whole := os.Getenv("NEXTHOP_LONG") != ""
	for _, s := range chains(t) {
		sets := s.sets(other)
		for _, name := range slices.Sorted(maps.Keys(sets)) {
			records := sets[name]
			if name == "none of use" || name == "the usage of PKIX alone" || !whole && !usual[name] {
				continue
			}
			n++
			dir := t.TempDir()
			wg.Go(func() {
				turns <- struct{}{}
				defer func() { <-turns }()
				ours, theirs := s.ours(t, records), s.ldnsSays(t, dir, records)
				mu.Lock()
				defer mu.Unlock()
				said[ours]++
				if ours == theirs {
					return
				}
				why, is := listedLDNS(s.name, name, ours, theirs)
				if known[why]++; !is {
					t.Errorf("TLS-37, TLS-38, TLS-39, TLS-40 %s, %s: we say %s, ldns-dane %s", s.name, name, ours, theirs)
				}
			})
		}
	}
	wg.Wait()
	if n < 120 {
		t.Errorf("%d cases, want 120 at least", n)
	}
	t.Logf("%d cases: %v; known to differ: %v", n, said, known)
}
