package mxtest

import (
	"encoding/binary"

	"github.com/miekg/dns"

	"github.com/nexthop-mail/nexthop/mx"
)

// unsound returns the message of a fault whose response matches the query and cannot be
// believed, or nil for other faults. m is the right response.
func (x *exchange) unsound(m *dns.Msg) []byte {
	switch x.answer.fault {
	case BareFormErr:
		return x.bareFormErr()
	case Cut:
		wire := x.first(m)
		return wire[:max(len(wire)/2, 12)]
	case Empty:
		m.Rcode = dns.RcodeSuccess
		m.Answer, m.Ns, m.Extra, m.AuthenticatedData = nil, nil, nil, false
	case NotServed:
		m.Rcode = dns.RcodeSuccess
		m.Answer, m.Ns, m.Extra, m.RecursionAvailable = nil, nil, nil, false
		m.AuthenticatedData = false
	case NoSOA:
		m.Ns = nil
	case Misplaced:
		return x.appended(m)
	case Uncounted:
		return x.uncounted(m)
	case LastLost:
		return x.lastLost(m)
	case LastBroken:
		m.Answer = breakLast(m.Answer)
	case Contradicts:
		m.Rcode, m.Answer = dns.RcodeNameError, x.someRecords(m)
	case OtherType:
		m.Answer = []dns.RR{&dns.TXT{
			Hdr: x.header(dns.TypeTXT), Txt: []string{"a record of another type"},
		}}
		if x.asked.Type == mx.TypeTXT {
			m.Answer = []dns.RR{&dns.A{Hdr: x.header(dns.TypeA), A: []byte{192, 0, 2, 99}}}
		}
	case OtherClass:
		m.Answer = copies(x.someRecords(m))
		for _, rr := range m.Answer {
			rr.Header().Class = dns.ClassCHAOS
		}
	case OtherSection:
		m.Answer, m.Ns = x.inOtherSection(m)
	default:
		return nil
	}
	return x.first(m)
}

// first is a response as the one message it makes.
func (x *exchange) first(m *dns.Msg) []byte {
	if messages := x.sized(m); messages != nil {
		return messages[0]
	}
	return nil
}

// header returns the header of a record at the name of the question.
func (x *exchange) header(t uint16) dns.RR_Header {
	return dns.RR_Header{Name: x.query.Question[0].Name, Rrtype: t, Class: dns.ClassINET, Ttl: defaultTTL}
}

// someRecords returns the answers, with an invented one if there is none of the right
// type.
func (x *exchange) someRecords(m *dns.Msg) []dns.RR {
	if len(x.answer.records) > 0 || x.asked.Type == mx.TypeCNAME && len(m.Answer) > 0 {
		return m.Answer
	}
	made := &dns.RFC3597{Hdr: x.header(x.query.Question[0].Qtype), Rdata: "05"}
	made.Hdr.Name = dns.Fqdn(x.answer.name)
	return append(append([]dns.RR{}, m.Answer...), made)
}

// inOtherSection is the aliases, and all others in the section that is not theirs.
func (x *exchange) inOtherSection(m *dns.Msg) (answer, authority []dns.RR) {
	all := x.someRecords(m)
	if x.asked.Type == mx.TypeCNAME {
		return nil, all
	}
	n := len(x.answer.chain)
	return all[:n], all[n:]
}

// bareFormErr is the header of the query, with QR and FORMERR.
func (x *exchange) bareFormErr() []byte {
	wire := x.first(x.code(dns.RcodeFormatError))[:12]
	binary.BigEndian.PutUint16(wire[4:], 1)
	binary.BigEndian.PutUint16(wire[10:], uint16(len(x.query.Extra)))
	return wire
}

// parts are the octets of a response without names by pointer, which stay right
// wherever a record is moved.
type parts struct {
	head    []byte // header and question
	records [][]byte
}

func (x *exchange) parts(m *dns.Msg, records []dns.RR) parts {
	bare := m.Copy()
	bare.Answer, bare.Ns, bare.Extra = nil, nil, nil
	p := parts{head: x.first(bare)}
	for _, rr := range records {
		buf := make([]byte, dns.MaxMsgSize)
		if n, err := dns.PackRR(rr, buf, 0, nil, false); err == nil {
			p.records = append(p.records, buf[:n])
		}
	}
	return p
}

// message is the parts with the counts of the three sections.
func (p parts) message(answer, authority, additional int) []byte {
	wire := p.head
	for _, r := range p.records {
		wire = append(wire, r...)
	}
	binary.BigEndian.PutUint16(wire[6:], uint16(answer))
	binary.BigEndian.PutUint16(wire[8:], uint16(authority))
	binary.BigEndian.PutUint16(wire[10:], uint16(additional))
	return wire
}

// appended is the response of a server that appends records to the query: an OPT
// record stands before the answers. Without one, or without answers, the response
// is right.
func (x *exchange) appended(m *dns.Msg) []byte {
	if len(x.answer.records) == 0 && x.asked.Type != mx.TypeCNAME || len(m.Answer) == 0 {
		return x.first(m)
	}
	p := x.parts(m, append(append([]dns.RR{}, x.query.Extra...), m.Answer...))
	return p.message(len(m.Answer), 0, len(x.query.Extra))
}

// uncounted returns a message with the records after the question, and none of them
// counted in the header.
func (x *exchange) uncounted(m *dns.Msg) []byte {
	return x.parts(m, x.someRecords(m)).message(0, 0, 0)
}

// lastLost is the records, one less than there are in the header.
func (x *exchange) lastLost(m *dns.Msg) []byte {
	records := x.someRecords(m)
	return x.parts(m, records).message(len(records)-1, 0, 0)
}

// breakLast is records of which the last has data of one octet.
func breakLast(records []dns.RR) []dns.RR {
	if len(records) == 0 {
		return nil
	}
	last := len(records) - 1
	broken := &dns.RFC3597{Hdr: *records[last].Header(), Rdata: "05"}
	return append(append([]dns.RR{}, records[:last]...), broken)
}

func copies(records []dns.RR) []dns.RR {
	made := make([]dns.RR, len(records))
	for i, rr := range records {
		made[i] = dns.Copy(rr)
	}
	return made
}
