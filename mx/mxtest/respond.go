package mxtest

import (
	"time"

	"github.com/miekg/dns"

	"github.com/nexthop-mail/nexthop/mx"
)

// response is what is sent for one query: messages, or nothing.
type response struct {
	delay    time.Duration
	messages [][]byte
	hangup   bool // close the connection instead
	reset    bool // reset it
}

// respond is the response to a query off the wire. transport, server and client
// are as in Query.
func (d *DNS) respond(wire []byte, transport, server, client string) response {
	query := new(dns.Msg)
	if err := query.Unpack(wire); err != nil || query.Response {
		return response{} // not a query, so there is no response
	}
	if query.Opcode != dns.OpcodeQuery || len(query.Question) != 1 || query.Question[0].Qclass != dns.ClassINET {
		return response{messages: packed(new(dns.Msg).SetRcode(query, dns.RcodeNotImplemented))}
	}
	asked := Query{
		Name: canonical(query.Question[0].Name), Type: mx.Type(query.Question[0].Qtype),
		Transport: transport, Server: server, Client: client, ID: query.Id,
		RD: query.RecursionDesired, CD: query.CheckingDisabled, AD: query.AuthenticatedData,
	}
	if opt := query.IsEdns0(); opt != nil {
		asked.DO, asked.UDPSize = opt.Do(), opt.UDPSize()
	}
	x := &exchange{query: query, asked: asked, answer: d.ask(asked)}
	if x.answer.err != nil {
		return response{messages: packed(x.failure(dns.RcodeServerFailure, dns.ExtendedErrorCodeOther, x.answer.err.Error()))}
	}
	r := x.respond()
	r.delay = x.answer.delay
	return r
}

// exchange is one query with the rule that applies to it.
type exchange struct {
	query  *dns.Msg
	asked  Query
	answer *answer
}

// respond is what the fault makes of the answer.
func (x *exchange) respond() response {
	if x.answer.over > 0 {
		if right := x.sized(x.right()); len(right) > 0 && len(right[0]) <= x.answer.over {
			return response{messages: right}
		}
	}
	switch x.answer.fault {
	case ServFail:
		return response{messages: packed(x.code(dns.RcodeServerFailure))}
	case Refused:
		return response{messages: packed(x.code(dns.RcodeRefused))}
	case FormErr:
		return response{messages: packed(x.code(dns.RcodeFormatError))}
	case NotImp:
		return response{messages: packed(x.code(dns.RcodeNotImplemented))}
	case Bogus:
		if !x.asked.CD {
			return response{messages: packed(x.failure(dns.RcodeServerFailure, dns.ExtendedErrorCodeDNSBogus, "signature does not match"))}
		}
	case Lame:
		return response{messages: packed(x.referral())}
	case BadVers:
		return response{messages: packed(x.badVersion())}
	case Timeout:
		return response{}
	case Hangup:
		return response{hangup: true}
	case Reset:
		return response{reset: true}
	case Truncated, TruncatedAlways:
		switch {
		case len(x.answer.chain)+len(x.answer.records) == 0 && x.answer.fault == Truncated:
			// There are no records to leave out.
		case x.asked.Transport == "udp":
			return response{messages: packed(x.truncated())}
		case x.answer.fault == TruncatedAlways:
			return response{hangup: true}
		}
	}
	r := response{messages: x.sized(x.right())}
	if wrong := x.wrong(); wrong != nil {
		if !x.answer.then || !x.answer.fault.isNoise() {
			r.messages = nil
		}
		r.messages = append([][]byte{wrong}, r.messages...)
	}
	return r
}

// right is the answer as it should be.
func (x *exchange) right() *dns.Msg {
	m := x.code(dns.RcodeSuccess)
	a := x.answer
	if a.status == mx.NXDomain {
		m.Rcode = dns.RcodeNameError
	}
	m.Answer = append(append(m.Answer, a.chain...), a.records...)
	if a.soa != nil {
		m.Ns = append(m.Ns, a.soa)
	}
	// RFC 6840 section 5.7: the bit is for those who understand it.
	m.AuthenticatedData = a.secure && (x.asked.AD || x.asked.DO) && a.fault != Bogus
	return m
}

// code returns a response that has only a code.
func (x *exchange) code(rcode int) *dns.Msg {
	m := new(dns.Msg).SetRcode(x.query, rcode)
	m.RecursionAvailable = true
	m.Compress = true
	if x.asked.UDPSize > 0 && !(x.answer.ignorant && rcode <= 0xf) {
		m.SetEdns0(dns.DefaultMsgSize, x.asked.DO)
	}
	return m
}

// failure is a response with a code and an extended error (RFC 8914), where the
// query has EDNS.
func (x *exchange) failure(rcode int, extended uint16, text string) *dns.Msg {
	m := x.code(rcode)
	if opt := m.IsEdns0(); opt != nil {
		opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: extended, ExtraText: text})
	}
	return m
}

// badVersion returns BADVERS if the query has EDNS (RFC 6891 section 6.1.3).
func (x *exchange) badVersion() *dns.Msg {
	if x.asked.UDPSize == 0 {
		return x.code(dns.RcodeFormatError)
	}
	return x.code(dns.RcodeBadVers)
}

// referral is a response of a server that does not recurse and was asked about a
// zone it does not serve.
func (x *exchange) referral() *dns.Msg {
	m := x.code(dns.RcodeSuccess)
	m.RecursionAvailable = false
	m.Ns = []dns.RR{&dns.NS{
		Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: defaultTTL},
		Ns:  "a.root-servers.net.",
	}}
	return m
}

// truncated is half of the answer and the TC bit.
func (x *exchange) truncated() *dns.Msg {
	m := x.right()
	m.Answer, m.Ns, m.Truncated = m.Answer[:len(m.Answer)/2], nil, true
	return m
}

// sized packs a response, over UDP cut to what the query allows. One that fits
// no message is SERVFAIL.
func (x *exchange) sized(m *dns.Msg) [][]byte {
	if x.asked.Transport == "udp" {
		m.Truncate(max(int(x.asked.UDPSize), dns.MinMsgSize))
	}
	if messages := packed(m); messages != nil && len(messages[0]) <= dns.MaxMsgSize {
		return messages
	}
	return packed(x.failure(dns.RcodeServerFailure, dns.ExtendedErrorCodeOther, "the records fit no message"))
}

// packed returns a message in wire form, or none if it cannot be packed.
func packed(m *dns.Msg) [][]byte {
	wire, err := m.Pack()
	if err != nil {
		return nil
	}
	return [][]byte{wire}
}
