package dane_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/dane"
)

// bareKey is the record "2 1 0" of a key.
func bareKey(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return "2 1 0 " + hex.EncodeToString(der)
}

// TestMuchToCompare: a domain that publishes much, and whose host sends much, is
// authenticated if not too much comes before what matches, and costs little time in any
// case.
func TestMuchToCompare(t *testing.T) {
	const enough, tooMany = true, false
	authority := issue(t, nil, "CA", isCA)
	host := issue(t, authority, "example.com", names("example.com"))
	var namesakes, strangers []*identity
	var keys []string
	for i := range 70 {
		namesakes = append(namesakes, issue(t, nil, "CA", isCA))
		strangers = append(strangers, issue(t, nil, fmt.Sprint("stranger ", i), isCA))
		key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, bareKey(t, key.Public()))
	}
	about := func(all []*identity, matching int) (records []string) {
		for _, one := range all {
			records = append(records, tlsa(2, 0, matching, one))
		}
		return records
	}
	good := tlsa(2, 0, 1, authority)
	for _, c := range []struct {
		name    string
		chain   []*identity
		records []string
		is      bool
	}{
		{"the authority is the 60th certificate", slices.Concat([]*identity{host}, strangers[:58], []*identity{authority}), []string{good}, enough},
		{"the authority is the 70th certificate", slices.Concat([]*identity{host}, strangers[:68], []*identity{authority}), []string{good}, tooMany},
		{"the host's own key, and many certificates", slices.Concat([]*identity{host}, strangers), []string{tlsa(3, 1, 1, host)}, enough},
		{"ten authorities of the same name before it", slices.Concat([]*identity{host}, namesakes[:10], []*identity{authority}), append(about(namesakes[:10], 1), good), enough},
		{"thirty authorities of the same name before it", slices.Concat([]*identity{host}, namesakes[:30], []*identity{authority}), append(about(namesakes[:30], 1), good), tooMany},
		{"six records for each of ten", slices.Concat([]*identity{host}, namesakes[:10], []*identity{authority}),
			append(slices.Concat(about(namesakes[:10], 1), about(namesakes[:10], 0), about(namesakes[:10], 1)), good), enough},
		{"ten whole authorities that are not sent before it", []*identity{host, authority}, append(about(namesakes[:10], 0), good), enough},
		{"thirty whole authorities that are not sent before it", []*identity{host}, append(about(namesakes[:30], 0), tlsa(2, 0, 0, authority)), tooMany},
		{"many digests that match nothing before it", []*identity{host, authority}, append(about(slices.Concat(namesakes, strangers), 1), good), enough},
		{"thirty keys before it", []*identity{host}, append(keys[:30:30], tlsa(2, 1, 0, authority)), enough},
		{"seventy keys before it", []*identity{host}, append(keys[:70:70], tlsa(2, 1, 0, authority)), tooMany},
		{"thirty keys, and a chain, before it", []*identity{host, strangers[0], strangers[1]}, append(keys[:30:30], tlsa(2, 1, 0, authority)), tooMany},
	} {
		t.Run("TLS-38 "+c.name, func(t *testing.T) {
			v := find(t, c.records).Judge(dane.Session{Offered: true, Chain: sent(c.chain...)}, now)
			if v.Authenticated != c.is {
				t.Errorf("authenticated %t, want %t: %v", v.Authenticated, c.is, v.Reason)
			}
			if untried := slices.ContainsFunc(v.Records, func(r dane.Record) bool { return r.Fate == dane.NotTried }); untried == c.is && len(c.chain) < 65 {
				t.Errorf("a record was not tried: %t", untried)
			}
			if len(v.Records) > 17 || len(v.Chain) > 8 || v.Policy.Omitted != max(0, len(c.records)-len(v.Policy.Records)) {
				t.Errorf("it keeps %d records and %d certificates, and omits %d records", len(v.Records), len(v.Chain), v.Policy.Omitted)
			}
			if c.is && (v.Matched == nil || v.Matched.Fate != dane.Matched || !slices.ContainsFunc(v.Records, func(r dane.Record) bool { return r.Fate == dane.Matched })) {
				t.Errorf("the record that matched is %v", v.Matched)
			}
		})
	}
	t.Run("TLS-38 the time that it takes", func(t *testing.T) {
		var records []string
		for range 5 {
			records = append(records, keys...)
		}
		long := slices.Concat([]*identity{host}, strangers, namesakes, strangers, namesakes)
		start := time.Now()
		find(t, slices.Concat(records, about(namesakes, 1))).Judge(dane.Session{Offered: true, Chain: sent(long...)}, now)
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%d records and %d certificates take %v", len(records), len(long), took)
		}
	})
	t.Run("TLS-38 what a verdict keeps", func(t *testing.T) {
		var many []string
		for i := range 200 {
			many = append(many, fmt.Sprintf("x%d.%s.test", i, strings.Repeat("y", 60)))
		}
		large := issue(t, nil, strings.Repeat("CA", 10_000), isCA, names(many...))
		records := slices.Concat(about(slices.Repeat([]*identity{large}, 10), 0), keys, []string{tlsa(3, 1, 1, large)})
		policy := find(t, records)
		v := policy.Judge(dane.Session{Offered: true, Chain: sent(slices.Repeat([]*identity{large}, 20)...)}, now)
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if !v.Authenticated || len(encoded) > 64<<10 || len(v.String()) > 64<<10 || len(strings.Join(policy.Strings(), " ")) > 20<<10 {
			t.Errorf("authenticated %t; %d octets of JSON, %d of text, %d of records for reports", v.Authenticated, len(encoded), len(v.String()), len(strings.Join(policy.Strings(), " ")))
		}
	})
	t.Run("TLS-38 a key that is too large", func(t *testing.T) {
		large := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537}
		v := find(t, []string{bareKey(t, large), good}).Judge(dane.Session{Offered: true, Chain: sent(host, authority)}, now)
		if v.Records[0].Fate != dane.NotTried || !v.Authenticated {
			t.Errorf("%v", v)
		}
	})
}
