package mx

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// FuzzResponse gives what a server may send to everything that reads it: no
// input may panic, or make a fact out of what is none.
func FuzzResponse(f *testing.F) {
	for _, records := range [][]string{
		{"e.test. 60 IN MX 10 m.e.test."},
		{"e.test. 60 IN A 192.0.2.1", "e.test. 60 IN A 192.0.2.2"},
		{"e.test. 60 IN AAAA 2001:db8::1"},
		{"e.test. 60 IN CNAME f.test.", "f.test. 60 IN MX 0 ."},
		{"e.test. 60 IN CNAME e.test."},
		{`e.test. 60 IN TXT "a" "b"`},
		{"e.test. 60 IN TLSA 3 1 1 00"},
		{"e.test. 60 IN SRV 1 2 3 m.e.test."},
		{"e.test. 60 IN SOA ns.e.test. root.e.test. 1 2 3 4 5"},
	} {
		m := new(dns.Msg)
		m.SetQuestion("e.test.", dns.TypeMX)
		m.Response = true
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: 6}}
		for i, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
			m.Ns = append(m.Ns, rr)
			m.Question[0].Qtype = rr.Header().Rrtype
			m.Rcode = i
		}
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire, m.Question[0].Qtype)
	}
	f.Fuzz(func(t *testing.T, wire []byte, number uint16) {
		ty := Type(number)
		if !known(ty) {
			ty = TypeMX
		}
		q, err := newQuery("e.test", ty, 1232)
		if err != nil {
			t.Fatal(err)
		}
		if len(wire) >= headerLen { // or no input would ever pass the first checks
			binary.BigEndian.PutUint16(wire, q.id)
			wire[2] |= 0x80
		}
		m, err := q.parse(wire)
		if err != nil || m.flags&flagTC != 0 {
			return
		}
		a, failed := q.interpret(m, true)
		if failed != nil {
			if a.Status != StatusNone || failed.kind == NoAnswer {
				t.Errorf("failure %v with answer %+v", failed, a)
			}
			return
		}
		if err := checkStatus(a, "e.test", ty); err != nil {
			t.Errorf("answer %+v: %v", a, err)
		}
		if err := checkChain(a, "e.test", ty); ty != TypeCNAME && err != nil {
			t.Errorf("answer %+v: %v", a, err)
		}
		if a.TTL < 0 || a.TTL > maxTTL || a.TTL%time.Second != 0 {
			t.Errorf("TTL %v", a.TTL)
		}
		if a.Status != Success && (m.cut || m.tail || m.hasMisplacedOPT()) {
			t.Errorf("absence %+v out of a broken message", a)
		}
		if a.Status != Success && ty != TypeCNAME && !empty(a, ty) {
			t.Errorf("records in an answer of status %d", a.Status)
		}
	})
}
