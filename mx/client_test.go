package mx_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/nexthop-mail/nexthop/mx"
)

const soa = "e.test. 600 IN SOA ns.e.test. root.e.test. 1 2 3 4 900"

func TestClientAnswers(t *testing.T) {
	sec := time.Second
	tests := []struct {
		name    string
		ask     string
		t       mx.Type
		rcode   int
		records []string
		want    mx.Answer
	}{
		{
			name: "MX records", ask: "e.test", t: mx.TypeMX,
			records: []string{"E.test. 300 IN MX 10 MX1.e.test.", "e.test. 200 IN MX 0 ."},
			want:    mx.Answer{Status: mx.Success, Name: "e.test", TTL: 200 * sec, MX: []mx.MX{{Preference: 10, Host: "mx1.e.test"}, {Preference: 0, Host: ""}}},
		},
		{
			name: "addresses", ask: "e.test", t: mx.TypeA,
			records: []string{"e.test. 60 IN A 192.0.2.1", "e.test. 60 IN A 192.0.2.2"},
			want: mx.Answer{Status: mx.Success, Name: "e.test", TTL: 60 * sec,
				Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}},
		},
		{
			name: "IPv6 addresses", ask: "e.test", t: mx.TypeAAAA,
			records: []string{"e.test. 60 IN AAAA 2001:db8::1"},
			want:    mx.Answer{Status: mx.Success, Name: "e.test", TTL: 60 * sec, Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}},
		},
		{
			name: "text joined without blanks", ask: "e.test", t: mx.TypeTXT,
			records: []string{`e.test. 60 IN TXT "v=STSv1; " "id=1\";"`},
			want:    mx.Answer{Status: mx.Success, Name: "e.test", TTL: 60 * sec, TXT: []string{`v=STSv1; id=1";`}},
		},
		{
			name: "TLSA", ask: "_25._tcp.e.test", t: mx.TypeTLSA,
			records: []string{"_25._tcp.e.test. 60 IN TLSA 3 1 1 0a0b"},
			want: mx.Answer{Status: mx.Success, Name: "_25._tcp.e.test", TTL: 60 * sec,
				TLSA: []mx.TLSA{{Usage: 3, Selector: 1, MatchingType: 1, Data: []byte{10, 11}}}},
		},
		{
			name: "SRV", ask: "_submission._tcp.e.test", t: mx.TypeSRV,
			records: []string{"_submission._tcp.e.test. 60 IN SRV 1 2 587 mail.e.test."},
			want: mx.Answer{Status: mx.Success, Name: "_submission._tcp.e.test", TTL: 60 * sec,
				SRV: []mx.SRV{{Priority: 1, Weight: 2, Port: 587, Target: "mail.e.test"}}},
		},
		{
			name: "MX-34 no data holds for the lesser of SOA TTL and MINIMUM", ask: "e.test", t: mx.TypeMX,
			records: []string{"authority", soa},
			want:    mx.Answer{Status: mx.NoData, Name: "e.test", TTL: 600 * sec},
		},
		{
			name: "MX-34 no such name, MINIMUM the lesser", ask: "no.e.test", t: mx.TypeMX, rcode: dns.RcodeNameError,
			records: []string{"authority", "e.test. 900 IN SOA ns.e.test. root.e.test. 1 2 3 4 60"},
			want:    mx.Answer{Status: mx.NXDomain, Name: "no.e.test", TTL: 60 * sec},
		},
		{
			name: "MX-34 without SOA an absence is used once", ask: "e.test", t: mx.TypeMX,
			want: mx.Answer{Status: mx.NoData, Name: "e.test"},
		},
		{
			name: "MX-34 the SOA of another zone says nothing", ask: "e.test", t: mx.TypeMX, rcode: dns.RcodeNameError,
			records: []string{"authority", "f.test. 600 IN SOA ns.f.test. root.f.test. 1 2 3 4 900"},
			want:    mx.Answer{Status: mx.NXDomain, Name: "e.test"},
		},
		{
			name: "MX-33 a TTL with the sign bit set is zero", ask: "e.test", t: mx.TypeA,
			records: []string{"e.test. 2147483649 IN A 192.0.2.1"},
			want:    mx.Answer{Status: mx.Success, Name: "e.test", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
		},
		{
			name: "MX-6, MX-33 alias and records in one response", ask: "a.test", t: mx.TypeMX,
			records: []string{"b.test. 300 IN MX 10 m.b.test.", "a.test. 5 IN CNAME b.test.", "c.test. 1 IN MX 1 evil.test."},
			want: mx.Answer{Status: mx.Success, Name: "b.test", TTL: 5 * sec, Aliases: []mx.Alias{{From: "a.test", To: "b.test", Secure: mx.Insecure}},
				MX: []mx.MX{{Preference: 10, Host: "m.b.test"}}},
		},
		{
			name: "MX-6 alias alone is for the caller to follow", ask: "a.test", t: mx.TypeMX,
			records: []string{"a.test. 5 IN CNAME b.test."},
			want:    mx.Answer{Status: mx.Aliased, Name: "b.test", TTL: 5 * sec, Aliases: []mx.Alias{{From: "a.test", To: "b.test", Secure: mx.Insecure}}},
		},
		{
			name: "alias whose target has no such record", ask: "a.e.test", t: mx.TypeMX,
			records: []string{"a.e.test. 5 IN CNAME b.e.test.", "authority", soa},
			want:    mx.Answer{Status: mx.NoData, Name: "b.e.test", TTL: 5 * sec, Aliases: []mx.Alias{{From: "a.e.test", To: "b.e.test", Secure: mx.Insecure}}},
		},
		{
			name: "MX-7 alias whose target does not exist", ask: "a.e.test", t: mx.TypeMX, rcode: dns.RcodeNameError,
			records: []string{"a.e.test. 5 IN CNAME b.e.test.", "authority", soa},
			want:    mx.Answer{Status: mx.NXDomain, Name: "b.e.test", TTL: 5 * sec, Aliases: []mx.Alias{{From: "a.e.test", To: "b.e.test", Secure: mx.Insecure}}},
		},
		{
			name: "MX-7 DNAME with the CNAME made from it", ask: "m.old.test", t: mx.TypeMX,
			records: []string{"old.test. 60 IN DNAME new.test.", "m.old.test. 60 IN CNAME m.new.test.", "m.new.test. 60 IN MX 1 x.new.test."},
			want: mx.Answer{Status: mx.Success, Name: "m.new.test", TTL: 60 * sec, Aliases: []mx.Alias{{From: "m.old.test", To: "m.new.test", Secure: mx.Insecure}},
				MX: []mx.MX{{Preference: 1, Host: "x.new.test"}}},
		},
		{
			name: "the alias itself", ask: "a.test", t: mx.TypeCNAME,
			records: []string{"a.test. 5 IN CNAME b.test."},
			want:    mx.Answer{Status: mx.Success, Name: "b.test", TTL: 5 * sec, Aliases: []mx.Alias{{From: "a.test", To: "b.test", Secure: mx.Insecure}}},
		},
		{
			name: "an odd byte in a name stays escaped", ask: "e.test", t: mx.TypeMX,
			records: []string{`e.test. 60 IN MX 1 a\000b\.c.e.test.`},
			want:    mx.Answer{Status: mx.Success, Name: "e.test", TTL: 60 * sec, MX: []mx.MX{{Preference: 1, Host: `a\000b\.c.e.test`}}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := clientOf(t, answering(t, test.rcode, test.records...))
			got, err := c.Resolve(t.Context(), test.ask, test.t)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("answer is\n%+v, want\n%+v", got, test.want)
			}
		})
	}
}

func TestClientBelievesAnAuthority(t *testing.T) {
	t.Run("MX-3 an authoritative server that names itself and has no record", func(t *testing.T) {
		c := clientOf(t, func(x exchange) {
			m := x.reply(t, 0, "authority", "e.test. 60 IN NS ns.e.test.")
			m.Authoritative = true
			x.send(pack(t, m))
		})
		a, err := c.Resolve(t.Context(), "e.test", mx.TypeMX)
		if err != nil || a.Status != mx.NoData || a.TTL != 0 {
			t.Errorf("answer is %+v, %v; want no data, to be used once", a, err)
		}
	})
}

func TestClientFailures(t *testing.T) {
	edns := func(code uint16) script {
		return func(x exchange) {
			m := x.reply(t, dns.RcodeServerFailure)
			if opt := m.IsEdns0(); opt != nil {
				opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: code, ExtraText: "\x1b[31m"})
			}
			x.send(pack(t, m))
		}
	}
	cutAbsence := func(rcode int) script {
		return func(x exchange) {
			m := x.reply(t, rcode, "authority", soa)
			m.Extra = nil
			w := pack(t, m)
			x.send(w[:len(w)-3])
		}
	}
	tests := []struct {
		name  string
		serve script
		want  mx.ResolveErrorKind
	}{
		{"MX-5 no such name, cut short", cutAbsence(dns.RcodeNameError), mx.Malformed},
		{"MX-5 no such record, cut short", cutAbsence(dns.RcodeSuccess), mx.Malformed},
		{"MX-5 server failure", answering(t, dns.RcodeServerFailure), mx.ServFail},
		{"MX-5 refused", answering(t, dns.RcodeRefused), mx.QueryRefused},
		{"MX-5 not implemented", answering(t, dns.RcodeNotImplemented), mx.QueryRefused},
		{"MX-5 a code nobody knows", answering(t, 13), mx.QueryRefused},
		{"MX-5 silence", silent, mx.Timeout},
		{"MX-5 referral to other servers", answering(t, 0, "authority", "e.test. 60 IN NS ns.e.test."), mx.Lame},
		{"MX-5 records for a name said not to exist", answering(t, dns.RcodeNameError, "e.test. 60 IN MX 1 m.e.test."), mx.Malformed},
		{"MX-5 records of another class", answering(t, 0, "e.test. 60 CH MX 1 m.e.test.", "authority", soa), mx.Malformed},
		{"MX-5 records about another name", answering(t, 0, "f.test. 60 IN MX 1 m.f.test."), mx.Malformed},
		{"MX-5 records about another name, and none about this one", answering(t, 0, "f.test. 60 IN MX 1 m.f.test.", "authority", soa), mx.Malformed},
		{"MX-7 alias of itself", answering(t, 0, "e.test. 60 IN CNAME e.test."), mx.AliasLoop},
		{"MX-7 aliases in a circle", answering(t, 0, "e.test. 60 IN CNAME f.test.", "f.test. 60 IN CNAME e.test."), mx.AliasLoop},
		{"MX-7 circle further on", answering(t, 0, "e.test. 60 IN CNAME f.test.", "f.test. 60 IN CNAME g.test.", "g.test. 60 IN CNAME f.test."), mx.AliasLoop},
		{"MX-7 chain of seventeen", answering(t, 0, chain(17, "e.test.")...), mx.AliasLoop},
		{"MX-36 bogus", edns(dns.ExtendedErrorCodeDNSBogus), mx.Bogus},
		{"MX-36 signature expired", edns(dns.ExtendedErrorCodeSignatureExpired), mx.Bogus},
		{"MX-36 no signatures", edns(dns.ExtendedErrorCodeRRSIGsMissing), mx.Bogus},
		{"MX-36 indeterminate", edns(dns.ExtendedErrorCodeDNSSECIndeterminate), mx.Bogus},
		{"other trouble with a reason", edns(dns.ExtendedErrorCodeNoReachableAuthority), mx.ServFail},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clientOf(t, test.serve)
				_, err := c.Resolve(t.Context(), "e.test", mx.TypeMX)
				re := wantFailure(t, err, test.want)
				if re.Name != "e.test" || re.Type != mx.TypeMX || re.Server != first {
					t.Errorf("error is about %q %v at %q", re.Name, re.Type, re.Server)
				}
				if !re.Temporary() {
					t.Error("a failed lookup is not temporary")
				}
			})
		})
	}
}

// chain is n aliases from the first name on, and an MX record at the end.
func chain(n int, from string) []string {
	var records []string
	for i := range n {
		to := fmt.Sprintf("n%d.test.", i)
		records = append(records, from+" 60 IN CNAME "+to)
		from = to
	}
	return append(records, from+" 60 IN MX 1 m.e.test.")
}

func TestClientFollowsSixteenAliases(t *testing.T) {
	t.Run("MX-7 chain of sixteen in one response", func(t *testing.T) {
		c := clientOf(t, answering(t, 0, chain(16, "e.test.")...))
		a, err := c.Resolve(t.Context(), "e.test", mx.TypeMX)
		if err != nil || a.Status != mx.Success || len(a.Aliases) != 16 || a.Name != "n15.test" {
			t.Fatalf("answer is %+v, %v; want success after sixteen aliases", a, err)
		}
	})
}

func TestClientIgnoresForeignDatagrams(t *testing.T) {
	good := func(x exchange) []byte {
		m := x.reply(t, 0, "e.test. 60 IN A 192.0.2.1")
		m.Extra = nil
		return pack(t, m)
	}
	foreign := map[string]func(x exchange) []byte{
		"wrong id": func(x exchange) []byte {
			m := x.reply(t, 0, "e.test. 60 IN A 203.0.113.9")
			m.Id++
			return pack(t, m)
		},
		"another name": func(x exchange) []byte {
			m := x.reply(t, 0, "e.test. 60 IN A 203.0.113.9")
			m.Question[0].Name = "f.test."
			return pack(t, m)
		},
		"another type": func(x exchange) []byte {
			m := x.reply(t, 0, "e.test. 60 IN A 203.0.113.9")
			m.Question[0].Qtype = dns.TypeMX
			return pack(t, m)
		},
		"another class": func(x exchange) []byte {
			m := x.reply(t, 0)
			m.Question[0].Qclass = dns.ClassCHAOS
			return pack(t, m)
		},
		"no question": func(x exchange) []byte {
			m := x.reply(t, 0, "e.test. 60 IN A 203.0.113.9")
			m.Question = nil
			return pack(t, m)
		},
		"two questions": func(x exchange) []byte {
			m := x.reply(t, 0)
			m.Question = append(m.Question, m.Question[0])
			return pack(t, m)
		},
		"another opcode": func(x exchange) []byte {
			m := x.reply(t, 0, "e.test. 60 IN A 203.0.113.9")
			m.Opcode = dns.OpcodeNotify
			return pack(t, m)
		},
		"a query":       func(x exchange) []byte { return pack(t, x.query) },
		"empty":         func(exchange) []byte { return []byte{} },
		"eleven bytes":  func(x exchange) []byte { return good(x)[:11] },
		"noise":         func(exchange) []byte { return []byte("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n") },
		"cut short":     func(x exchange) []byte { w := good(x); return w[:len(w)-1] },
		"cut at header": func(x exchange) []byte { return good(x)[:12] },
		"counts lie": func(x exchange) []byte {
			w := good(x)
			binary.BigEndian.PutUint16(w[6:], 65535)
			return w
		},
		"endless name": func(x exchange) []byte {
			w := good(x)
			at := len(w) - 16 // the owner of the only record, a pointer to the question
			w[at], w[at+1] = 0xc0, byte(at)
			return w
		},
	}
	for name, datagram := range foreign {
		t.Run("MX-5 passes over "+name, func(t *testing.T) {
			c := clientOf(t, func(x exchange) {
				x.send(datagram(x))
				x.send(good(x))
			})
			a, err := c.Resolve(t.Context(), "e.test", mx.TypeA)
			if err != nil || len(a.Addrs) != 1 || a.Addrs[0] != netip.MustParseAddr("192.0.2.1") {
				t.Fatalf("answer is %+v, %v; want the good one", a, err)
			}
		})
		t.Run("nothing but "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clientOf(t, func(x exchange) { x.send(datagram(x)) })
				_, err := c.Resolve(t.Context(), "e.test", mx.TypeA)
				if re, ok := errors.AsType[*mx.ResolveError](err); !ok || re.Kind != mx.Timeout && re.Kind != mx.Malformed {
					t.Fatalf("error is %v, want a timeout or a malformed response", err)
				}
			})
		})
	}
}

func TestClientToleratesMalformedRecords(t *testing.T) {
	// short makes the data of the last MX record in wire one byte long.
	withShortData := func(x exchange, records ...string) []byte {
		m := x.reply(t, 0, records...)
		m.Answer = append(m.Answer, &dns.RFC3597{
			Hdr: dns.RR_Header{Name: "e.test.", Rrtype: dns.TypeMX, Class: dns.ClassINET, Ttl: 60}, Rdata: "00",
		}, &dns.RFC3597{
			Hdr: dns.RR_Header{Name: "e.test.", Rrtype: dns.TypeMX, Class: dns.ClassINET, Ttl: 60}, Rdata: "0000",
		}, &dns.RFC3597{
			Hdr: dns.RR_Header{Name: "e.test.", Rrtype: dns.TypeMX, Class: dns.ClassINET, Ttl: 60}, Rdata: "000ac0ff",
		}, &dns.RFC3597{
			Hdr: dns.RR_Header{Name: "e.test.", Rrtype: dns.TypeMX, Class: dns.ClassINET, Ttl: 60}, Rdata: "000a0161000000",
		})
		return pack(t, m)
	}
	t.Run("MX-5 the readable records are used", func(t *testing.T) {
		c := clientOf(t, func(x exchange) { x.send(withShortData(x, "e.test. 60 IN MX 10 m.e.test.")) })
		a, err := c.Resolve(t.Context(), "e.test", mx.TypeMX)
		if err != nil || !reflect.DeepEqual(a.MX, []mx.MX{{Preference: 10, Host: "m.e.test"}}) {
			t.Fatalf("answer is %+v, %v; want the one good record", a, err)
		}
	})
	t.Run("MX-5 an address of the wrong length is none", func(t *testing.T) {
		c := clientOf(t, func(x exchange) {
			m := x.reply(t, 0, "e.test. 60 IN A 192.0.2.1")
			for _, data := range []string{"20010db8000000000000000000000001", "c00002", "c000020100"} {
				m.Answer = append(m.Answer, &dns.RFC3597{
					Hdr: dns.RR_Header{Name: "e.test.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, Rdata: data,
				})
			}
			x.send(pack(t, m))
		})
		a, err := c.Resolve(t.Context(), "e.test", mx.TypeA)
		if err != nil || !reflect.DeepEqual(a.Addrs, addrs("192.0.2.1")) {
			t.Fatalf("answer is %+v, %v; want the one good record", a, err)
		}
	})
	t.Run("MX-5 unreadable records are not the absence of records", func(t *testing.T) {
		c := clientOf(t, func(x exchange) { x.send(withShortData(x)) })
		a, err := c.Resolve(t.Context(), "e.test", mx.TypeMX)
		if err == nil {
			t.Fatalf("answer is %+v, want a failure", a)
		}
		wantFailure(t, err, mx.Malformed)
	})
}

func TestClientTruncation(t *testing.T) {
	var records []string
	for i := range 60 {
		records = append(records, fmt.Sprintf("e.test. 60 IN MX %d mx%d.a-rather-long-name.e.test.", i, i))
	}
	overUDP := func(x exchange) bool {
		if x.network == "udp" {
			m := x.reply(t, 0, records[:7]...)
			m.Truncated = true
			x.send(pack(t, m))
		}
		return x.network == "udp"
	}
	t.Run("MX-35 a truncated answer is asked again over TCP", func(t *testing.T) {
		c := clientOf(t, func(x exchange) {
			if !overUDP(x) {
				x.send(pack(t, x.reply(t, 0, records...)))
			}
		})
		a, err := c.Resolve(t.Context(), "e.test", mx.TypeMX)
		if err != nil || len(a.MX) != 60 {
			t.Fatalf("got %d records, %v; want all 60", len(a.MX), err)
		}
	})
	t.Run("MX-35 truncated over TCP too", func(t *testing.T) {
		c := clientOf(t, func(x exchange) {
			m := x.reply(t, 0, records[:7]...)
			m.Truncated = true
			x.send(pack(t, m))
		})
		_, err := c.Resolve(t.Context(), "e.test", mx.TypeMX)
		wantFailure(t, err, mx.Truncated)
	})
	t.Run("MX-35 TCP refused", func(t *testing.T) {
		c := clientOf(t, func(x exchange) { overUDP(x) })
		dial := c.Dial
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if network == "tcp" {
				return nil, errRefused
			}
			return dial(ctx, network, address)
		}
		_, err := c.Resolve(t.Context(), "e.test", mx.TypeMX)
		if wantFailure(t, err, mx.Truncated); !errors.Is(err, errRefused) {
			t.Errorf("error %v does not wrap its cause", err)
		}
	})
	t.Run("MX-35 an answer cut short over TCP is none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := clientOf(t, func(x exchange) {
				if !overUDP(x) {
					w := pack(t, x.reply(t, 0, records...))
					x.send(w[:len(w)-200])
				}
			})
			_, err := c.Resolve(t.Context(), "e.test", mx.TypeMX)
			wantFailure(t, err, mx.Truncated)
		})
	})
	t.Run("largest response", func(t *testing.T) {
		var many []string
		for i := range 4000 {
			many = append(many, fmt.Sprintf("e.test. 60 IN A 10.%d.%d.%d", i>>16, i>>8&255, i&255))
		}
		c := clientOf(t, func(x exchange) {
			if x.network == "udp" {
				t.Error("asked over UDP")
			}
			x.send(pack(t, x.reply(t, 0, many...)))
		})
		c.TCPOnly = true
		a, err := c.Resolve(t.Context(), "e.test", mx.TypeA)
		if err != nil || len(a.Addrs) != 4000 {
			t.Fatalf("got %d addresses, %v; want 4000", len(a.Addrs), err)
		}
	})
}
