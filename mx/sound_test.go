package mx_test

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// The absence of records is believed of a sound message alone, and so is a set of
// records of which each counts.

// octets is a response off the wire, in hexadecimal, with the id of the query.
func octets(t testing.TB, text string) func(x exchange) []byte {
	t.Helper()
	wire, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return func(x exchange) []byte {
		wire := append([]byte(nil), wire...)
		wire[0], wire[1] = byte(x.query.Id>>8), byte(x.query.Id)
		return wire
	}
}

// Responses of servers that append records to the query as it came. The first has
// one MX record, and the second two, of which one looks like an additional record.
const (
	appendedOne = `
		1234 8120 0001 0001 0000 0001 07 6578616d706c65 03 636f6d 00 000f 0001
		00 0029 04d0 00000000 0000
		07 6578616d706c65 03 636f6d 00 000f 0001 0000003c 0013 000a 03 6d7831 07 6578616d706c65 03 636f6d 00`
	appendedTwo = `
		1234 8120 0001 0002 0000 0001 07 6578616d706c65 03 636f6d 00 000f 0001
		00 0029 04d0 00000000 0000
		07 6578616d706c65 03 636f6d 00 000f 0001 0000003c 0011 0014 01 62 07 6578616d706c65 03 636f6d 00
		07 6578616d706c65 03 636f6d 00 000f 0001 0000003c 0011 000a 01 61 07 6578616d706c65 03 636f6d 00`
	// A record behind the question, and none in the header.
	uncounted = `
		1234 8120 0001 0000 0000 0000 07 6578616d706c65 03 636f6d 00 000f 0001
		07 6578616d706c65 03 636f6d 00 000f 0001 0000003c 0013 000a 03 6d7831 07 6578616d706c65 03 636f6d 00`
)

func TestBrokenMessagesAreNoAbsence(t *testing.T) {
	for name, text := range map[string]string{"one record": appendedOne, "two records": appendedTwo, "a record that is not counted": uncounted} {
		broken := octets(t, text)
		t.Run("MX-5 "+name+", and no better without EDNS", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clientOf(t, func(x exchange) { x.send(broken(x)) })
				a, err := c.Resolve(t.Context(), "example.com", mx.TypeMX)
				if err == nil {
					t.Fatalf("answer is %+v, want a failure for now", a)
				}
				wantFailure(t, err, mx.Malformed)
			})
		})
		t.Run("MX-5 "+name+", and all of it without EDNS", func(t *testing.T) {
			c := clientOf(t, func(x exchange) {
				if x.query.IsEdns0() != nil {
					x.send(broken(x))
					return
				}
				x.send(pack(t, x.reply(t, 0, "example.com. 60 IN MX 20 b.example.com.", "example.com. 60 IN MX 10 a.example.com.")))
			})
			for range 2 {
				a, err := c.Resolve(t.Context(), "example.com", mx.TypeMX)
				if err != nil || len(a.MX) != 2 {
					t.Fatalf("answer is %+v, %v; want both records", a, err)
				}
			}
		})
	}
}

// TestMessages: what is believed of a message, and what is not, one after the other.
func TestMessages(t *testing.T) {
	const record, other = "e.test. 60 IN MX 10 m1.e.test.", "e.test. 60 IN MX 20 m2.e.test."
	reply := func(rcode int, change func(m *dns.Msg), records ...string) script {
		return func(x exchange) {
			m := x.reply(t, rcode, records...)
			if change != nil {
				change(m)
			}
			x.send(pack(t, m))
		}
	}
	additional := func(texts ...string) func(m *dns.Msg) {
		return func(m *dns.Msg) {
			for _, text := range texts {
				rr, err := dns.NewRR(text)
				if err != nil {
					t.Fatal(err)
				}
				m.Extra = append(m.Extra, rr)
			}
		}
	}
	signature := func(of string) string {
		return "e.test. 60 IN RRSIG " + of + " 8 2 60 20300101000000 20200101000000 1 test. aGVsbG8="
	}
	noEDNS := func(m *dns.Msg) { m.Extra = nil }
	tail := func(rcode int, tail string, records ...string) script {
		return func(x exchange) { x.send(append(pack(t, x.reply(t, rcode, records...)), tail...)) }
	}
	const believed = mx.NoAnswer
	tests := []struct {
		name  string
		serve script
		fails mx.ResolveErrorKind // believed is none
		want  mx.Status
		n     int // records
	}{
		// Records.
		{"records, and others of theirs in another section", reply(0, additional(other), record), mx.Malformed, 0, 0},
		{"records, and the same in another section", reply(0, additional(record), record), believed, mx.Success, 1},
		{"records, and more in the authority section", reply(0, nil, record, "authority", other), mx.Malformed, 0, 0},
		{"records, and addresses of their hosts", reply(0, additional("m1.e.test. 60 IN A 192.0.2.1"), record), believed, mx.Success, 1},
		{"records, and something behind the end", tail(0, "more", record), mx.Malformed, 0, 0},
		{"records behind an OPT record", reply(0, func(m *dns.Msg) {
			m.Answer = []dns.RR{&dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}, m.Answer[0]}
		}, record), mx.Malformed, 0, 0},
		{"records, and padding of zeros", tail(0, "\x00\x00\x00\x00", record), believed, mx.Success, 1},
		{"records, and somebody else's", reply(0, nil, record, "f.test. 60 IN MX 1 m.f.test."), believed, mx.Success, 1},
		// No data (RFC 2308 section 2.2).
		{"no data, type 1 and 2", reply(0, nil, "authority", soa), believed, mx.NoData, 0},
		{"no data, type 3", reply(0, nil), believed, mx.NoData, 0},
		{"no data, type 3, of a server that knows no EDNS", reply(0, noEDNS), believed, mx.NoData, 0},
		{"no data, the SOA record a filter's", reply(0, nil, "authority", "rpz.filter. 60 IN SOA a. b. 1 2 3 4 5"), believed, mx.NoData, 0},
		{"no data of a server that neither recurses nor speaks for the name", reply(0, func(m *dns.Msg) { m.RecursionAvailable, m.Extra = false, nil }), mx.Lame, 0, 0},
		{"a referral downwards", reply(0, nil, "authority", "e.test. 60 IN NS ns.e.test."), mx.Lame, 0, 0},
		{"a referral upwards", reply(0, nil, "authority", ". 60 IN NS a.root."), mx.Lame, 0, 0},
		{"no data, and a record behind the end", tail(0, "x", "authority", soa), mx.Malformed, 0, 0},
		{"no data beside the record, in the authority section", reply(0, nil, "authority", soa, record), mx.Malformed, 0, 0},
		{"no data beside the record, in the additional section", reply(0, additional(record), "authority", soa), mx.Malformed, 0, 0},
		{"no data beside a record of another type", reply(0, nil, "e.test. 60 IN A 192.0.2.1", "authority", soa), mx.Malformed, 0, 0},
		{"no data beside a record of another class", reply(0, nil, "e.test. 60 CH MX 10 m.e.test.", "authority", soa), mx.Malformed, 0, 0},
		{"no data beside somebody else's alias", reply(0, nil, "f.test. 60 IN CNAME g.test.", "authority", soa), mx.Malformed, 0, 0},
		{"no data with signatures", reply(0, nil, "authority", soa, "e.test. 60 IN NSEC f.test. A RRSIG NSEC"), believed, mx.NoData, 0},
		// No such name (RFC 2308 section 2.1).
		{"no such name, type 1 and 2", reply(3, nil, "authority", soa), believed, mx.NXDomain, 0},
		{"no such name, type 3", reply(3, nil), believed, mx.NXDomain, 0},
		{"no such name, type 4", reply(3, nil, "authority", "test. 60 IN NS ns.test."), believed, mx.NXDomain, 0},
		{"no such name, the SOA record that of a filter", reply(3, nil, "authority", "e.test. 60 IN SOA a. b. 1 2 3 4 5"), believed, mx.NXDomain, 0},
		{"no such name, and the record", reply(3, nil, record), mx.Malformed, 0, 0},
		{"no such name, and a record of another type", reply(3, nil, "e.test. 60 IN A 192.0.2.1"), mx.Malformed, 0, 0},
		{"no such name, and its address in another section", reply(3, additional("e.test. 60 IN A 192.0.2.1"), "authority", soa), mx.Malformed, 0, 0},
		{"no such name, and something behind the end", tail(3, "x"), mx.Malformed, 0, 0},
		// Aliases.
		{"an alias to nothing", reply(3, nil, "e.test. 60 IN CNAME f.test.", "authority", "test. 60 IN SOA a. b. 1 2 3 4 5"), believed, mx.NXDomain, 0},
		{"an alias, and nobody speaks for its target", reply(0, nil, "e.test. 60 IN CNAME f.test."), believed, mx.Aliased, 0},
		{"an alias, and a record that belongs to nobody", reply(0, nil, "e.test. 60 IN CNAME f.test.", "g.test. 60 IN MX 1 m.g.test."), mx.Malformed, 0, 0},
		{"the record that an alias is made from, and no alias", reply(0, nil, "test. 60 IN DNAME old.test.", "authority", soa), mx.Malformed, 0, 0},
		{"the signature of the record, and no record", reply(0, nil, signature("MX"), "authority", soa), mx.Malformed, 0, 0},
		{"an alias with its signature", reply(0, nil, "e.test. 60 IN CNAME f.test.", signature("CNAME")), believed, mx.Aliased, 0},
		{"an alias whose target's record stands elsewhere", reply(0, additional("f.test. 60 IN MX 1 m.f.test."), "e.test. 60 IN CNAME f.test."), mx.Malformed, 0, 0},
	}
	for _, test := range tests {
		t.Run("MX-5 "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, err := clientOf(t, test.serve).Resolve(t.Context(), "e.test", mx.TypeMX)
				if test.fails != believed {
					if err == nil {
						t.Fatalf("answer is %+v, want a failure", a)
					}
					wantFailure(t, err, test.fails)
					return
				}
				if err != nil || a.Status != test.want || len(a.MX) != test.n {
					t.Errorf("answer is %+v, %v; want status %d and %d records", a, err, test.want, test.n)
				}
			})
		})
	}
}

// TestNothingIsLostWithoutAWord: a record that cannot be read is said to be there, and
// nothing is final that rests on the others.
func TestNothingIsLostWithoutAWord(t *testing.T) {
	const zone = "$ORIGIN e.test.\n$TTL 60\n@ SOA ns root 1 2 3 4 5\n@ MX 20 b\n@ MX 10 a\nb A 192.0.2.2\na A 192.0.2.1\n"
	broken := []mxtest.Rule{{Name: "e.test", Type: mx.TypeMX, Fault: mxtest.LastBroken}}
	for name, rules := range map[string][]mxtest.Rule{"its host is up": broken, "its host has no address": append(broken, mxtest.Rule{Name: "b.e.test", Fault: mxtest.NXDomain})} {
		t.Run("MX-5, MX-21 one record of two cannot be read, "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				router := overDNS(&mxtest.DNS{Zone: zone, Rules: rules})
				route, err := router.Route(t.Context(), "e.test")
				want := "mx: 20 b.e.test 192.0.2.2; out: 0 e.test (a record cannot be read)"
				if len(rules) > 1 {
					want = noAnswer + "; out: 20 b.e.test (it has no address), 0 e.test (a record cannot be read)"
				}
				if got := describe(route, err); got != want {
					t.Errorf("route is\n\t%s\nwant\n\t%s", got, want)
				}
			})
		})
	}
	t.Run("MX-5 and the whole set where it can be had", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			router := overDNS(&mxtest.DNS{Zone: zone, Rules: []mxtest.Rule{{Name: "e.test", Type: mx.TypeMX, Transport: "udp", Fault: mxtest.LastBroken}}})
			route, err := router.Route(t.Context(), "e.test")
			if got, want := describe(route, err), "mx: 10 a.e.test 192.0.2.1, 20 b.e.test 192.0.2.2"; got != want {
				t.Errorf("route is\n\t%s\nwant\n\t%s", got, want)
			}
		})
	})
}

// TestNullMXBesideABrokenRecord: a domain of which a record cannot be read does not say
// that it takes no mail.
func TestNullMXBesideABrokenRecord(t *testing.T) {
	t.Run("MX-29, MX-5 a null MX, and a record that cannot be read", func(t *testing.T) {
		router := overDNS(&mxtest.DNS{
			Zone:  "$ORIGIN e.test.\n@ 60 MX 0 .\n@ 60 MX 10 a\na 60 A 192.0.2.1\n",
			Rules: []mxtest.Rule{{Name: "e.test", Type: mx.TypeMX, Fault: mxtest.LastBroken}},
		})
		route, err := router.Route(t.Context(), "e.test")
		if got, want := describe(route, err), noAnswer; !strings.HasPrefix(got, want) {
			t.Errorf("route is %s, want %s", got, want)
		}
	})
}

// TestDamageIsNotWaitedFor: a response that cannot be read ends the wait soon, and the
// right one is still taken if it comes at once.
func TestDamageIsNotWaitedFor(t *testing.T) {
	for late, want := range map[time.Duration]mx.ResolveErrorKind{0: mx.NoAnswer, 900 * time.Millisecond: mx.NoAnswer, 1100 * time.Millisecond: mx.Malformed} {
		t.Run(fmt.Sprintf("MX-5 the right one after %v", late), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clientOf(t, func(x exchange) {
					w := pack(t, x.reply(t, 0, "e.test. 60 IN MX 1 m.e.test."))
					x.send(w[:40])
					time.Sleep(late)
					x.send(w)
				})
				began := time.Now()
				a, err := c.Resolve(t.Context(), "e.test", mx.TypeMX)
				if want == mx.NoAnswer {
					if err != nil || !reflect.DeepEqual(a.MX, []mx.MX{{Preference: 1, Host: "m.e.test"}}) {
						t.Errorf("answer is %+v, %v", a, err)
					}
				} else {
					wantFailure(t, err, want)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("it took %v", took)
				}
				time.Sleep(late) // until the server is done
			})
		})
	}
}
