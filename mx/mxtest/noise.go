package mxtest

import "github.com/miekg/dns"

// wrong returns the message that a fault sends instead of the right one, or before it,
// or nil for other faults.
func (x *exchange) wrong() []byte {
	m := x.right()
	switch x.answer.fault {
	case WrongID:
		m.Id = ^m.Id
	case WrongQuestion:
		m.Question = []dns.Question{{Name: elsewhere, Qtype: x.query.Question[0].Qtype, Qclass: dns.ClassINET}}
	case OtherName:
		m.Rcode, m.Answer, m.Ns = dns.RcodeSuccess, x.aboutOthers(m.Answer), nil
	case Garbage:
		return []byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
	case Malformed:
		return x.cutRecord()
	case OtherOpcode:
		m.Opcode = dns.OpcodeNotify
	default:
		return x.unsound(m)
	}
	if messages := x.sized(m); messages != nil {
		return messages[0]
	}
	return nil
}

// elsewhere is a name that no test asks about.
const elsewhere = "elsewhere.invalid."

// aboutOthers is records with the owner elsewhere, and an alias of it, so that
// there is one in any case.
func (x *exchange) aboutOthers(records []dns.RR) []dns.RR {
	moved := []dns.RR{&dns.CNAME{
		Hdr:    dns.RR_Header{Name: elsewhere, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: defaultTTL},
		Target: "further." + elsewhere,
	}}
	for _, rr := range records {
		copied := dns.Copy(rr)
		copied.Header().Name = elsewhere
		moved = append(moved, copied)
	}
	return moved
}

// cutRecord is a response whose only record says that it has more data than the
// message.
func (x *exchange) cutRecord() []byte {
	m := x.code(dns.RcodeSuccess)
	m.Extra = nil
	messages := packed(m)
	if messages == nil {
		return nil
	}
	wire := messages[0]
	wire[7] = 1 // records in the answer section (RFC 1035 section 4.1.1)
	t := x.query.Question[0].Qtype
	// The name asked for, by pointer; type, class IN, TTL 300, 64 bytes of data
	// announced and two sent.
	return append(wire, 0xc0, 12, byte(t>>8), byte(t), 0, 1, 0, 0, 1, 44, 0, 64, 0, 10)
}
