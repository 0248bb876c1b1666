package mxtest_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

const wireZone = `
	$ORIGIN e.test.
	@   600  SOA ns root 1 2 3 4 900
	@   300  MX  10 MX1
	@   200  MX  20 mx2
	@   200  MX  30 mx3
	www CNAME    mx1
	mx1 60   A   192.0.2.1`

// query is a query with a few bits set.
func query(name string, t uint16, size uint16) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, t)
	m.Id = 4711
	if size > 0 {
		m.SetEdns0(size, false)
	}
	return m
}

// messages sends one query in memory and returns all that comes back within a
// minute, unread, and how the wait ended.
func messages(t *testing.T, d *mxtest.DNS, network string, q *dns.Msg) ([][]byte, error) {
	t.Helper()
	conn, err := d.Dial(t.Context(), network, "192.0.2.53:53")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	wire, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if network == "tcp" {
		wire = append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)
	}
	if _, err := conn.Write(wire); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for {
		one, err := message(conn, network)
		if err != nil {
			return all, err
		}
		all = append(all, one)
	}
}

func message(conn net.Conn, network string) ([]byte, error) {
	buf := make([]byte, dns.MaxMsgSize)
	if network == "udp" {
		n, err := conn.Read(buf)
		return buf[:n], err
	}
	if _, err := io.ReadFull(conn, buf[:2]); err != nil {
		return nil, err
	}
	buf = buf[:binary.BigEndian.Uint16(buf)]
	_, err := io.ReadFull(conn, buf)
	return buf, err
}

// read is the messages that can be read.
func read(all [][]byte) []*dns.Msg {
	var good []*dns.Msg
	for _, wire := range all {
		m := new(dns.Msg)
		if m.Unpack(wire) == nil {
			good = append(good, m)
		}
	}
	return good
}

func TestFaultsOnTheWire(t *testing.T) {
	q := query("e.test.", dns.TypeMX, 1232)
	code := func(rcode int) func(*testing.T, [][]byte) {
		return func(t *testing.T, all [][]byte) {
			m := read(all)
			if len(m) != 1 || m[0].Rcode != rcode || len(m[0].Answer) != 0 || m[0].Id != q.Id {
				t.Errorf("responses are %v, want one of code %d without records", m, rcode)
			}
		}
	}
	nothing := func(t *testing.T, all [][]byte) {
		if len(all) != 0 {
			t.Errorf("%d messages came, want none", len(all))
		}
	}
	right := func(t *testing.T, all [][]byte) {
		m := read(all)
		if len(m) != 1 || len(m[0].Answer) != 3 || m[0].Truncated || m[0].Id != q.Id {
			t.Errorf("responses are %v, want the right one", m)
		}
	}
	tests := []struct {
		name    string
		rule    mxtest.Rule
		network string
		check   func(*testing.T, [][]byte)
	}{
		{"none", mxtest.Rule{}, "udp", right},
		{"NXDOMAIN", mxtest.Rule{Fault: mxtest.NXDomain}, "udp", func(t *testing.T, all [][]byte) {
			code(dns.RcodeNameError)(t, all)
			if m := read(all)[0]; len(m.Ns) != 1 || m.Ns[0].Header().Rrtype != dns.TypeSOA {
				t.Errorf("authority is %v, want the SOA", m.Ns)
			}
		}},
		{"no data", mxtest.Rule{Fault: mxtest.NoData}, "udp", code(dns.RcodeSuccess)},
		{"SERVFAIL", mxtest.Rule{Fault: mxtest.ServFail}, "udp", code(dns.RcodeServerFailure)},
		{"SERVFAIL over TCP", mxtest.Rule{Fault: mxtest.ServFail}, "tcp", code(dns.RcodeServerFailure)},
		{"rule for the other transport", mxtest.Rule{Fault: mxtest.ServFail, Transport: "tcp"}, "udp", right},
		{"REFUSED", mxtest.Rule{Fault: mxtest.Refused}, "udp", code(dns.RcodeRefused)},
		{"FORMERR", mxtest.Rule{Fault: mxtest.FormErr}, "udp", code(dns.RcodeFormatError)},
		{"NOTIMP", mxtest.Rule{Fault: mxtest.NotImp}, "udp", code(dns.RcodeNotImplemented)},
		{"bogus", mxtest.Rule{Fault: mxtest.Bogus}, "udp", func(t *testing.T, all [][]byte) {
			code(dns.RcodeServerFailure)(t, all)
			options := read(all)[0].IsEdns0().Option
			if len(options) != 1 || options[0].(*dns.EDNS0_EDE).InfoCode != dns.ExtendedErrorCodeDNSBogus {
				t.Errorf("options are %v, want the extended error", options)
			}
		}},
		{"lame", mxtest.Rule{Fault: mxtest.Lame}, "udp", func(t *testing.T, all [][]byte) {
			m := read(all)
			if len(m) != 1 || len(m[0].Answer) != 0 || m[0].Authoritative || len(m[0].Ns) != 1 || m[0].Ns[0].Header().Rrtype != dns.TypeNS {
				t.Errorf("responses are %v, want a referral", m)
			}
		}},
		{"timeout", mxtest.Rule{Fault: mxtest.Timeout}, "udp", nothing},
		{"timeout over TCP", mxtest.Rule{Fault: mxtest.Timeout}, "tcp", nothing},
		{"hangup over UDP", mxtest.Rule{Fault: mxtest.Hangup}, "udp", nothing},
		{"hangup over TCP", mxtest.Rule{Fault: mxtest.Hangup}, "tcp", nothing},
		{"truncated", mxtest.Rule{Fault: mxtest.Truncated}, "udp", func(t *testing.T, all [][]byte) {
			m := read(all)
			if len(m) != 1 || !m[0].Truncated || len(m[0].Answer) != 1 {
				t.Errorf("responses are %v, want one record of three and TC", m)
			}
		}},
		{"truncated, over TCP", mxtest.Rule{Fault: mxtest.Truncated}, "tcp", right},
		{"truncated always, over TCP", mxtest.Rule{Fault: mxtest.TruncatedAlways}, "tcp", nothing},
		{"alias only, of a name that is none", mxtest.Rule{Fault: mxtest.AliasOnly}, "udp", right},
		{"other name", mxtest.Rule{Fault: mxtest.OtherName}, "udp", func(t *testing.T, all [][]byte) {
			m := read(all)
			if len(m) != 1 || m[0].Question[0].Name != "e.test." || len(m[0].Answer) < 3 {
				t.Fatalf("responses are %v, want one with records", m)
			}
			for _, rr := range m[0].Answer {
				if rr.Header().Name == "e.test." {
					t.Errorf("record %v is about the name asked for", rr)
				}
			}
		}},
		{"wrong id", mxtest.Rule{Fault: mxtest.WrongID}, "udp", func(t *testing.T, all [][]byte) {
			if m := read(all); len(m) != 1 || m[0].Id == q.Id || len(m[0].Answer) != 3 {
				t.Errorf("responses are %v, want one with another id", m)
			}
		}},
		{"wrong question", mxtest.Rule{Fault: mxtest.WrongQuestion}, "udp", func(t *testing.T, all [][]byte) {
			if m := read(all); len(m) != 1 || m[0].Id != q.Id || m[0].Question[0].Name == "e.test." {
				t.Errorf("responses are %v, want one to another question", m)
			}
		}},
		{"garbage", mxtest.Rule{Fault: mxtest.Garbage}, "udp", func(t *testing.T, all [][]byte) {
			if len(all) != 1 || len(read(all)) != 0 {
				t.Errorf("messages are %q, want one that cannot be read", all)
			}
		}},
		{"malformed", mxtest.Rule{Fault: mxtest.Malformed}, "udp", func(t *testing.T, all [][]byte) {
			if len(all) != 1 || len(read(all)) != 0 || binary.BigEndian.Uint16(all[0]) != q.Id {
				t.Errorf("messages are %q, want one that ends too early", all)
			}
		}},
		{"wrong id, then the answer", mxtest.Rule{Fault: mxtest.WrongID, ThenAnswer: true}, "udp", func(t *testing.T, all [][]byte) {
			if len(all) != 2 {
				t.Fatalf("%d messages, want two", len(all))
			}
			right(t, all[1:])
		}},
		{"garbage, then the answer, over TCP", mxtest.Rule{Fault: mxtest.Garbage, ThenAnswer: true}, "tcp", func(t *testing.T, all [][]byte) {
			if len(all) != 2 {
				t.Fatalf("%d messages, want two", len(all))
			}
			right(t, all[1:])
		}},
		{"records of another name in place of the zone's", mxtest.Rule{Name: "e.test", Records: "5 MX 1 mx9\n7 TXT no"}, "udp", func(t *testing.T, all [][]byte) {
			m := read(all)
			if len(m) != 1 || len(m[0].Answer) != 1 || m[0].Answer[0].String() != "e.test.\t5\tIN\tMX\t1 mx9.e.test." {
				t.Errorf("responses are %v, want the record of the rule", m)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dns := &mxtest.DNS{Zone: wireZone, Rules: []mxtest.Rule{test.rule}}
				all, err := messages(t, dns, test.network, q)
				test.check(t, all)
				hangs := test.network == "tcp" && (test.rule.Fault == mxtest.Hangup || test.rule.Fault == mxtest.TruncatedAlways)
				if hangs != errors.Is(err, io.EOF) || !hangs && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the connection ended with %v", err)
				}
			})
		})
	}
}

func TestResponseBits(t *testing.T) {
	signed := &mxtest.DNS{Zone: wireZone, Signed: map[string]bool{".": true, "mx2.e.test": false},
		Rules: []mxtest.Rule{{Name: "bad.e.test", Fault: mxtest.Bogus}}}
	tests := []struct {
		name  string
		alter func(*dns.Msg)
		check func(*dns.Msg) bool
	}{
		{"plain query, no AD, no EDNS", func(q *dns.Msg) { q.Extra = nil }, func(m *dns.Msg) bool { return !m.AuthenticatedData && m.IsEdns0() == nil }},
		{"AD for a query with AD", func(q *dns.Msg) { q.AuthenticatedData = true }, func(m *dns.Msg) bool { return m.AuthenticatedData }},
		{"AD for a query with DO", func(q *dns.Msg) { q.SetEdns0(1232, true) }, func(m *dns.Msg) bool { return m.AuthenticatedData && m.IsEdns0().Do() }},
		{"no AD for a name that is not signed", func(q *dns.Msg) { q.AuthenticatedData, q.Question[0].Name = true, "mx2.e.test." }, func(m *dns.Msg) bool { return !m.AuthenticatedData }},
		{"bogus for those who check", func(q *dns.Msg) { q.AuthenticatedData, q.Question[0].Name = true, "bad.e.test." }, func(m *dns.Msg) bool { return m.Rcode == dns.RcodeServerFailure }},
		{"bogus with CD", func(q *dns.Msg) {
			q.AuthenticatedData, q.CheckingDisabled, q.Question[0].Name = true, true, "bad.e.test."
		}, func(m *dns.Msg) bool { return m.Rcode == dns.RcodeNameError && !m.AuthenticatedData }},
		{"another class", func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassCHAOS }, func(m *dns.Msg) bool { return m.Rcode == dns.RcodeNotImplemented }},
		{"recursion", func(*dns.Msg) {}, func(m *dns.Msg) bool { return m.RecursionAvailable && m.RecursionDesired && !m.Authoritative }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := query("e.test.", dns.TypeMX, 1232)
				test.alter(q)
				all, _ := messages(t, signed, "udp", q)
				if m := read(all); len(m) != 1 || !test.check(m[0]) {
					t.Errorf("responses are %v", m)
				}
			})
		})
	}
}

func TestTruncationBySize(t *testing.T) {
	many := &mxtest.DNS{Zone: "$ORIGIN e.test.\n$GENERATE 1-60 @ MX 10 a-rather-long-name-of-a-host-$"}
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			network string
			size    uint16
			all     bool
		}{{"udp", 0, false}, {"udp", 1232, false}, {"udp", 4096, true}, {"tcp", 0, true}} {
			wires, _ := messages(t, many, test.network, query("e.test.", dns.TypeMX, test.size))
			m := read(wires)
			if len(m) != 1 || m[0].Truncated == test.all || (len(m[0].Answer) == 60) != test.all {
				t.Errorf("%s with %d: %d records, TC %v", test.network, test.size, len(m[0].Answer), m[0].Truncated)
			}
			if limit := max(int(test.size), 512); !test.all && len(wires[0]) > limit {
				t.Errorf("%s: %d bytes, want at most %d", test.network, len(wires[0]), limit)
			}
		}
	})
}

func TestTooLargeForAMessage(t *testing.T) {
	huge := &mxtest.DNS{Zone: "$ORIGIN e.test.\n$GENERATE 1-4000 @ MX 10 mx$"}
	synctest.Test(t, func(t *testing.T) {
		wires, _ := messages(t, huge, "tcp", query("e.test.", dns.TypeMX, 1232))
		if m := read(wires); len(m) != 1 || m[0].Rcode != dns.RcodeServerFailure {
			t.Errorf("responses are %v, want SERVFAIL", m)
		}
		a, err := huge.Resolve(t.Context(), "e.test", mx.TypeMX)
		if err != nil || len(a.MX) != 4000 {
			t.Errorf("the fake has %d records, %v; want 4000", len(a.MX), err)
		}
	})
}

func TestDialedConnections(t *testing.T) {
	d := &mxtest.DNS{Zone: wireZone, Rules: []mxtest.Rule{{Name: "mx1.e.test", Delay: time.Second}}}
	t.Run("query in pieces, two at once, the delayed one last", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := dial(t, d, "tcp")
			var stream []byte
			for i, name := range []string{"mx1.e.test.", "e.test."} {
				q := query(name, dns.TypeA, 0)
				q.Id = uint16(i)
				wire, _ := q.Pack()
				stream = append(binary.BigEndian.AppendUint16(stream, uint16(len(wire))), wire...)
			}
			for _, b := range stream {
				if _, err := conn.Write([]byte{b}); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			for i, want := range []uint16{1, 0} {
				wire, err := message(conn, "tcp")
				if err != nil || binary.BigEndian.Uint16(wire) != want || time.Since(began) != time.Duration(i)*time.Second {
					t.Errorf("response %d is %x, %v, after %v", i, wire, err, time.Since(began))
				}
			}
		})
	})
	t.Run("Close and deadline end a Read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := dial(t, d, "udp")
			ended := make(chan error)
			for _, test := range []struct {
				end  func() error
				want error
			}{
				{func() error { return conn.SetDeadline(time.Now()) }, os.ErrDeadlineExceeded},
				{conn.Close, net.ErrClosed},
			} {
				if err := conn.SetDeadline(time.Time{}); err != nil {
					t.Fatal(err)
				}
				go func() {
					_, err := conn.Read(make([]byte, 512))
					ended <- err
				}()
				synctest.Wait()
				if err := test.end(); err != nil {
					t.Fatal(err)
				}
				if err := <-ended; !errors.Is(err, test.want) {
					t.Errorf("Read ended with %v, want %v", err, test.want)
				}
			}
			if _, err := conn.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("of a closed connection Write says %v", err)
			}
		})
	})
	t.Run("what is no query has no answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn := dial(t, d, "udp")
			if err := conn.SetDeadline(time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			response := query("e.test.", dns.TypeA, 0)
			response.Response = true
			wire, _ := response.Pack()
			for _, p := range [][]byte{{}, []byte("hello"), wire} {
				if _, err := conn.Write(p); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := conn.Read(make([]byte, 512)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read says %d, %v", n, err)
			}
		})
	})
	t.Run("another network", func(t *testing.T) {
		if _, err := d.Dial(t.Context(), "sctp", "192.0.2.53:53"); err == nil {
			t.Error("sctp is a network")
		}
	})
}

func dial(t *testing.T, d *mxtest.DNS, network string) net.Conn {
	t.Helper()
	conn, err := d.Dial(t.Context(), network, "192.0.2.53:53")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func FuzzRespond(f *testing.F) {
	for _, q := range []*dns.Msg{query("e.test.", dns.TypeMX, 1232), query("www.e.test.", dns.TypeA, 0), query(".", dns.TypeANY, 0)} {
		wire, err := q.Pack()
		if err != nil {
			f.Fatal(err)
		}
		for fault := range mxtest.Malformed + 1 {
			f.Add(wire, uint8(fault), true)
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte, fault uint8, then bool) {
		d := &mxtest.DNS{Zone: wireZone, Rules: []mxtest.Rule{{Fault: mxtest.Fault(fault % uint8(mxtest.Malformed+1)), ThenAnswer: then}}}
		for _, network := range []string{"udp", "tcp"} {
			conn := dial(t, d, network)
			if _, err := conn.Write(wire); err != nil {
				t.Fatal(err)
			}
		}
	})
}
