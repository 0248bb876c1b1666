package trust_test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/queue"
)

// The keys of the zone before a roll: what DS records are of, and what signs the records.
var (
	ksk = dnskey{1, 8}
	zsk = dnskey{2, 8}
)

// validated has the world's names resolved by a validator.
func (w *world) validated(strict bool) *validator {
	v := &validator{
		Resolver: w.net, strict: strict, dsTTL: 4 * time.Hour, keysTTL: 2 * time.Hour, dataTTL: time.Hour,
		zone: signing{ds: []dnskey{ksk}, keys: []dnskey{ksk, zsk}, keysBy: []dnskey{ksk}, recordsBy: []dnskey{zsk}},
	}
	w.source.Resolver, w.source.MTASTS.Resolver, w.sender.Resolver = v, v, v
	return v
}

// runs writes how often each letter stands in a row.
func runs(text string) string {
	var all []string
	for text != "" {
		rest := strings.TrimLeft(text, text[:1])
		all = append(all, fmt.Sprintf("%s%d", text[:1], len(text)-len(rest)))
		text = rest
	}
	return strings.Join(all, " ")
}

// kind is a letter for what became of a message: d is DANE, e is TLS without it, and - is kept.
func kind(outcome queue.Outcome, tls string) string {
	if outcome != queue.Delivered {
		return "-"
	}
	return tls[:1]
}

// TestRollsOfAZone is what mail sees, each half hour, while the keys of a zone and their
// algorithm change, well or badly. Mail waits while the zone cannot be validated, and goes
// without DANE only once the zone above has said that it is not signed any more.
func TestRollsOfAZone(t *testing.T) {
	newKSK, newZSK := dnskey{3, 8}, dnskey{4, 8}
	ecKSK, ecZSK := dnskey{5, 13}, dnskey{6, 13}
	type step struct {
		hour   int
		change func(z *signing)
	}
	for _, c := range []struct {
		name    string
		steps   []step
		strict  string // of a resolver that wants a signature of each algorithm
		lenient string // of one that is content with any; "" is the same
		ratchet string // with the ratchet Refuse, where it makes a difference
	}{
		{"another key that signs the records, known before it signs (RFC 7583 section 3.2.1)", []step{
			{2, func(z *signing) { z.keys = []dnskey{ksk, zsk, newZSK} }},
			{5, func(z *signing) { z.recordsBy = []dnskey{newZSK} }},
			{7, func(z *signing) { z.keys = []dnskey{ksk, newZSK} }},
		}, "d48", "", ""},
		{"another key that signs the records, beside the old one (RFC 7583 section 3.2.2)", []step{
			{2, func(z *signing) { z.keys, z.recordsBy = []dnskey{ksk, zsk, newZSK}, []dnskey{zsk, newZSK} }},
			{5, func(z *signing) { z.keys, z.recordsBy = []dnskey{ksk, newZSK}, []dnskey{newZSK} }},
		}, "d48", "", ""},
		{"another key that signs the records, not known before", []step{
			{5, func(z *signing) { z.keys, z.recordsBy = []dnskey{ksk, newZSK}, []dnskey{newZSK} }},
		}, "d10 -2 d36", "", ""},
		{"the key that signs the records is gone, and still signs", []step{
			{5, func(z *signing) { z.keys = []dnskey{ksk, newZSK} }},
			{8, func(z *signing) { z.recordsBy = []dnskey{newZSK} }},
		}, "d12 -4 d32", "", ""},
		{"another key that signs the keys, vouched for above first (RFC 7583 section 3.3.2)", []step{
			{2, func(z *signing) { z.ds = []dnskey{ksk, newKSK} }},
			{7, func(z *signing) { z.keys, z.keysBy = []dnskey{newKSK, zsk}, []dnskey{newKSK} }},
			{10, func(z *signing) { z.ds = []dnskey{newKSK} }},
		}, "d48", "", ""},
		{"another key that signs the keys, beside the old one (RFC 7583 section 3.3.1)", []step{
			{2, func(z *signing) { z.keys, z.keysBy = []dnskey{ksk, newKSK, zsk}, []dnskey{ksk, newKSK} }},
			{5, func(z *signing) { z.ds = []dnskey{newKSK} }},
			{10, func(z *signing) { z.keys, z.keysBy = []dnskey{newKSK, zsk}, []dnskey{newKSK} }},
		}, "d48", "", ""},
		{"another key that signs the keys, and the zone above is told late", []step{
			{3, func(z *signing) { z.keys, z.keysBy = []dnskey{newKSK, zsk}, []dnskey{newKSK} }},
			{9, func(z *signing) { z.ds = []dnskey{newKSK} }},
		}, "d8 -16 d24", "", ""},
		{"another algorithm, its signatures first (RFC 6781 section 4.1.4)", []step{
			{2, func(z *signing) { z.recordsBy, z.keysBy = []dnskey{zsk, ecZSK}, []dnskey{ksk, ecKSK} }},
			{4, func(z *signing) { z.keys = []dnskey{ksk, zsk, ecKSK, ecZSK} }},
			{7, func(z *signing) { z.ds = []dnskey{ecKSK} }},
			{12, func(z *signing) { z.keys = []dnskey{ecKSK, ecZSK} }},
			{15, func(z *signing) { z.recordsBy, z.keysBy = []dnskey{ecZSK}, []dnskey{ecKSK} }},
		}, "d48", "", ""},
		{"another algorithm, which the zone above vouches for before the zone has it", []step{
			{2, func(z *signing) { z.ds = []dnskey{ksk, ecKSK} }},
			{10, func(z *signing) {
				z.keys, z.keysBy, z.recordsBy = []dnskey{ksk, zsk, ecKSK, ecZSK}, []dnskey{ksk, ecKSK}, []dnskey{zsk, ecZSK}
			}},
		}, "d8 -12 d28", "d48", ""},
		{"another algorithm, and the old one is gone before the zone above says so", []step{
			{2, func(z *signing) {
				z.ds, z.keys, z.keysBy, z.recordsBy = []dnskey{ksk, ecKSK}, []dnskey{ksk, zsk, ecKSK, ecZSK}, []dnskey{ksk, ecKSK}, []dnskey{zsk, ecZSK}
			}},
			{8, func(z *signing) {
				z.keys, z.keysBy, z.recordsBy = []dnskey{ecKSK, ecZSK}, []dnskey{ecKSK}, []dnskey{ecZSK}
			}},
			{11, func(z *signing) { z.ds = []dnskey{ecKSK} }},
		}, "d16 -8 d24", "d48", ""},
		{"the zone stops being signed, and the zone above says so first", []step{
			{2, func(z *signing) { z.ds = nil }},
			{9, func(z *signing) { z.keys, z.keysBy, z.recordsBy = nil, nil, nil }},
		}, "d8 e40", "", "d8 -40"},
		{"the zone stops being signed before the zone above says so", []step{
			{3, func(z *signing) { z.keys, z.keysBy, z.recordsBy = nil, nil, nil }},
			{6, func(z *signing) { z.ds = nil }},
		}, "d6 -10 e32", "", "d6 -42"},
		{"the zone is not signed for a while, as the zone above says", []step{
			{2, func(z *signing) { z.ds = nil }},
			{12, func(z *signing) { z.ds = []dnskey{ksk} }},
		}, "d8 e16 d24", "", "d8 -16 d24"},
		{"the signatures run out for a while", []step{
			{5, func(z *signing) { z.expired = true }},
			{9, func(z *signing) { z.expired = false }},
		}, "d10 -8 d30", "", ""},
	} {
		for _, how := range []string{"strict", "lenient", "refuse"} {
			if how == "refuse" && c.ratchet == "" {
				continue
			}
			t.Run("TLS-29 "+c.name+", "+how, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					cert := w.certificate("mx1.e.test")
					w.host("mx1.e.test", cert)
					w.start(oneMX, "_25._tcp.mx1 "+tlsa(cert))
					v := w.validated(how != "lenient")
					want := c.strict
					switch {
					case how == "lenient" && c.lenient != "":
						want = c.lenient
					case how == "refuse":
						w.source.Ratchet, want = trust.Refuse, c.ratchet
					}
					got, steps := "", c.steps
					for half := range 48 {
						if len(steps) > 0 && steps[0].hour*2 == half {
							v.change(steps[0].change)
							steps = steps[1:]
						}
						r := w.send("u@e.test").Recipients[0]
						got += kind(r.Outcome, r.TLS.String())
						pass(30 * time.Minute)
					}
					if runs(got) != want {
						t.Errorf("%s, want %s", runs(got), want)
					}
				})
			})
		}
	}
}

// TestRollsTogether: the keys of a zone, their algorithm, and the key of the host change again
// and again, each in the right order with the waits that it takes, and mail always goes by
// DANE.
func TestRollsTogether(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("TLS-41 seed %d", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				random := rand.New(rand.NewPCG(seed, 0))
				cert := w.certificate("mx1.e.test")
				host := &changing{c: cert}
				h := w.host("mx1.e.test", cert)
				h.TLS = &tls.Config{GetCertificate: host.get, SessionTicketsDisabled: true}
				w.start(oneMX, "_25._tcp.mx1 "+tlsa(cert))
				v := w.validated(seed%2 == 0)
				mails, end := 0, time.Now().Add(4*24*time.Hour)
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					w.rollKeys(v, random, end)
				}()
				next, nextHost := w.certificate("mx1.e.test"), time.Now()
				for published := false; time.Now().Before(end); pass(time.Duration(20+(seed*7+uint64(mails))%40) * time.Minute) {
					if time.Now().After(nextHost) { // twice the TTL of the records after the last step
						if published = !published; published {
							w.zone(oneMX, "_25._tcp.mx1 "+tlsa(cert), "_25._tcp.mx1 "+tlsa(next))
						} else {
							host.set(next)
							w.zone(oneMX, "_25._tcp.mx1 "+tlsa(next))
							cert, next = next, w.certificate("mx1.e.test")
						}
						nextHost = time.Now().Add(2 * v.dataTTL)
					}
					mails++
					if r := w.send("u@e.test").Recipients[0]; r.Outcome != queue.Delivered || r.TLS.String() != "dane" {
						t.Fatalf("after %d messages: %v, TLS %v, %v; the zone is %+v", mails, r.Outcome, r.TLS, r.Err, v.zone)
					}
				}
				<-ended
			})
		})
	}
}

// rollKeys changes the keys of a zone in the right order, again and again until a time.
func (w *world) rollKeys(v *validator, random *rand.Rand, end time.Time) {
	k, z, id := ksk, zsk, 10
	fresh := func(algorithm int) dnskey {
		id++
		return dnskey{id, algorithm}
	}
	wait := func(ttl time.Duration) { pass(ttl + v.dataTTL + time.Duration(random.IntN(120))*time.Minute) }
	for time.Now().Before(end) {
		switch random.IntN(3) {
		case 0:
			next := fresh(z.algorithm)
			v.change(func(s *signing) { s.keys = []dnskey{k, z, next} })
			wait(v.keysTTL)
			v.change(func(s *signing) { s.recordsBy = []dnskey{next} })
			wait(v.dataTTL)
			v.change(func(s *signing) { s.keys = []dnskey{k, next} })
			wait(v.keysTTL)
			z = next
		case 1:
			next := fresh(k.algorithm)
			v.change(func(s *signing) { s.ds = []dnskey{k, next} })
			wait(v.dsTTL)
			v.change(func(s *signing) { s.keys, s.keysBy = []dnskey{next, z}, []dnskey{next} })
			wait(v.keysTTL)
			v.change(func(s *signing) { s.ds = []dnskey{next} })
			wait(v.dsTTL)
			k = next
		default:
			nextK, nextZ := fresh(21-k.algorithm), fresh(21-k.algorithm) // 8 and 13 in turn
			v.change(func(s *signing) { s.recordsBy, s.keysBy = []dnskey{z, nextZ}, []dnskey{k, nextK} })
			wait(v.dataTTL)
			v.change(func(s *signing) { s.keys = []dnskey{k, z, nextK, nextZ} })
			wait(v.keysTTL)
			v.change(func(s *signing) { s.ds = []dnskey{nextK} })
			wait(v.dsTTL + v.keysTTL)
			v.change(func(s *signing) { s.keys = []dnskey{nextK, nextZ} })
			wait(v.keysTTL)
			v.change(func(s *signing) { s.recordsBy, s.keysBy = []dnskey{nextZ}, []dnskey{nextK} })
			wait(v.dataTTL)
			k, z = nextK, nextZ
		}
	}
}
