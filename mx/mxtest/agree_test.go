package mxtest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// What the fake says must be what the real client reads from real messages made
// of the same records and rules.

// names are those that random zones are made of and asked about; the last ones
// are never owners.
var names = []string{
	"z.test", "a.z.test", "b.z.test", "c.z.test", "x.c.z.test", "*.w.z.test", "d.z.test", "y.test",
	"one.w.z.test", "one.d.z.test", "two.one.w.z.test", "q.z.test", "test",
}

const owners = 8

var types = []mx.Type{mx.TypeMX, mx.TypeA, mx.TypeAAAA, mx.TypeTXT, mx.TypeTLSA, mx.TypeSRV, mx.TypeCNAME}

// randomZone is zone text of a few dozen records.
func randomZone(r *rand.Rand) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN .\n$TTL %d\n", r.IntN(400))
	if r.IntN(3) > 0 {
		fmt.Fprintf(&b, "z.test. %d SOA ns.z.test. root.z.test. 1 2 3 4 %d\n", r.IntN(900), r.IntN(900))
	}
	if r.IntN(3) == 0 {
		b.WriteString("d.z.test. 50 DNAME c.z.test.\n")
	}
	for range 5 + r.IntN(25) {
		fmt.Fprintf(&b, "%s. %s%s\n", pick(r, names[:owners]), pick(r, []string{"", "0 ", "60 ", "2147483648 "}), randomData(r))
	}
	return b.String()
}

func pick[T any](r *rand.Rand, all []T) T { return all[r.IntN(len(all))] }

func randomData(r *rand.Rand) string {
	name := pick(r, names)
	return pick(r, []string{
		"MX " + fmt.Sprint(r.IntN(65536)) + " " + name + ".", "MX 0 .", `MX 1 A\.b\032\065.` + name + ".",
		fmt.Sprintf("A 192.0.2.%d", r.IntN(256)), fmt.Sprintf("A 198.51.100.%d", r.IntN(256)),
		fmt.Sprintf("AAAA 2001:db8::%x", r.IntN(65536)), "AAAA ::ffff:192.0.2.1",
		`TXT "v=STSv1; " "id=1\";\\\009\200"`, `TXT ""`, "TXT plain",
		"TLSA 3 1 1 00ff10", "SRV 1 2 587 " + name + ".", "SRV 0 0 0 .",
		"CNAME " + name + ".", "CNAME " + strings.ToUpper(name) + ".",
	})
}

// randomRules are a few faults and delays.
func randomRules(r *rand.Rand) []mxtest.Rule {
	var rules []mxtest.Rule
	for range r.IntN(4) {
		rule := mxtest.Rule{
			Name:       pick(r, append([]string{"", "*.z.test"}, names...)),
			Type:       pick(r, append([]mx.Type{0}, types...)),
			Fault:      mxtest.Fault(r.IntN(int(mxtest.OtherOpcode) + 1)),
			ThenAnswer: r.IntN(2) == 0,
			Delay:      pick(r, []time.Duration{0, 0, time.Second / 2, 10 * time.Second}),
		}
		if rule.Name != "" && !strings.HasPrefix(rule.Name, "*") && r.IntN(4) == 0 {
			rule.Records = "7 MX 7 seven.test.\n8 A 192.0.2.8"
		}
		rules = append(rules, rule)
	}
	return rules
}

// outcome is what one question came to, in comparable form.
type outcome struct {
	Answer mx.Answer
	Kind   mx.ResolveErrorKind
	Failed bool
}

func ask(t *testing.T, r mx.Resolver, name string, typ mx.Type) outcome {
	t.Helper()
	a, err := mx.Follow(t.Context(), r, name, typ)
	if err == nil {
		return outcome{Answer: a}
	}
	re, ok := errors.AsType[*mx.ResolveError](err)
	if !ok {
		t.Fatalf("%v of %s: error %v (%T) is no *mx.ResolveError", typ, name, err, err)
	}
	if re.Kind == mx.AliasLoop {
		re.Kind = mx.Malformed // either is said of a message that has both faults
	}
	return outcome{Kind: re.Kind, Failed: true}
}

// compare asks two resolvers about all names and types.
func compare(t *testing.T, what string, fake, other mx.Resolver, zone string, rules []mxtest.Rule) {
	t.Helper()
	for _, name := range names {
		name = strings.Replace(name, "*", "star", 1)
		for _, typ := range types {
			want, got := ask(t, fake, name, typ), ask(t, other, name, typ)
			if !reflect.DeepEqual(want, got) {
				t.Fatalf("%v of %s: the fake says\n%+v, %s\n%+v, with rules\n%+v and zone\n%s", typ, name, want, what, got, rules, zone)
			}
		}
	}
}

// forgetful asks each question by a Client of its own: what one has learnt of a
// server changes what it makes of the next fault.
type forgetful struct{ dns *mxtest.DNS }

func (f forgetful) Resolve(ctx context.Context, name string, typ mx.Type) (mx.Answer, error) {
	client := &mx.Client{Servers: []mx.Server{{Addr: "192.0.2.53:53", TrustAD: true}}, Attempts: 1, Dial: f.dns.Dial}
	return client.Resolve(ctx, name, typ)
}

func agree(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 0))
		zone, rules := randomZone(r), randomRules(r)
		signed := map[string]bool{"test": r.IntN(2) == 0, "b.z.test": true, "c.z.test": false, "x.c.z.test": true}
		// One each: a rule for a few questions is used up by those who ask.
		fake := &mxtest.DNS{Zone: zone, Rules: rules, Signed: signed}
		wire := &mxtest.DNS{Zone: zone, Rules: rules, Signed: signed}
		if err := fake.Validate(); err != nil {
			t.Fatalf("%v in\n%s", err, zone)
		}
		compare(t, "the client", fake, forgetful{wire}, zone, rules)
	})
}

func TestFakeAgreesWithClient(t *testing.T) {
	for seed := range uint64(600) {
		agree(t, seed)
	}
}

func FuzzFakeAgreesWithClient(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(seed)
	}
	f.Fuzz(agree)
}

func TestServerAgreesWithFake(t *testing.T) {
	for seed := range uint64(20) {
		zone := randomZone(rand.New(rand.NewPCG(seed, 1)))
		signed := map[string]bool{"z.test": true}
		fake := &mxtest.DNS{Zone: zone, Signed: signed}
		server := start(t, &mxtest.Server{DNS: &mxtest.DNS{Zone: zone, Signed: signed}})
		client := &mx.Client{Servers: []mx.Server{{Addr: server.Addr(), TrustAD: true}}}
		compare(t, "the server", fake, client, zone, nil)
		overTCP := &mx.Client{Servers: client.Servers, TCPOnly: true}
		compare(t, "the server over TCP", fake, overTCP, zone, nil)
	}
}

// start starts a server that the end of the test closes.
func start(t testing.TB, s *mxtest.Server) *mxtest.Server {
	t.Helper()
	if err := s.Start(); err != nil {
		t.Fatalf("starting the server: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the server: %v", err)
		}
	})
	return s
}
