package mx

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// query is one question as it goes over the wire.
type query struct {
	name string // as the server will repeat it, canonical
	t    Type
	id   uint16
	wire []byte
	edns bool

	doubtful bool // messages came that look like its response and cannot be read
}

// newQuery packs a question with a random id: recursion desired; AD set, so that
// a validating resolver says whether it validated (RFC 6840 section 5.7); CD
// clear, so that it does validate (RFC 4035 section 3.2.2). size is what EDNS
// offers, 0 is a query without it.
func newQuery(name string, t Type, size uint16) (*query, error) {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), uint16(t))
	m.AuthenticatedData = true
	if size > 0 {
		m.SetEdns0(size, false)
	}
	wire, err := m.Pack()
	if err != nil {
		return nil, err
	}
	asked, _, err := dns.UnpackDomainName(wire, headerLen)
	if err != nil {
		return nil, err
	}
	return &query{name: canonicalOwner(asked), t: t, id: m.Id, wire: wire, edns: size > 0}, nil
}

// canonicalOwner is a name from the wire in lower case without its final dot.
// Bytes that are not printable ASCII are escaped in it already.
func canonicalOwner(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// The fixed parts of a message (RFC 1035 section 4.1).
const (
	headerLen = 12
	flagQR    = 1 << 15
	flagAA    = 1 << 10
	flagTC    = 1 << 9
	flagRA    = 1 << 7
	flagAD    = 1 << 5
	maskOp    = 0xf << 11
	maskRcode = 0xf
)

// record is one resource record, its data still packed.
type record struct {
	owner      string
	t, class   uint16
	ttl        uint32
	start, end int // of the data
}

// message is a response with its sections told apart.
type message struct {
	wire       []byte
	flags      uint16
	rcode      int
	answer     []record
	authority  []record
	additional []record
	// cut is true if the message ends before the end of the authority or the additional
	// section. Such a message has all its answers, but does not prove the absence of
	// others.
	cut bool
	// tail is true if the last record that the header counts is followed by other bytes
	// than zeros, which are not a record.
	tail     bool
	edns     bool     // it has an OPT record
	extended []uint16 // extended error codes (RFC 8914)
}

var (
	errNotOurs = errors.New("no answer to the question asked")
	errCut     = errors.New("message ends inside a record")
)

// parse reads a response to q. Of a message that is not one the error is
// errNotOurs; any other error says that it cannot be read.
func (q *query) parse(wire []byte) (*message, error) {
	if len(wire) < headerLen || binary.BigEndian.Uint16(wire) != q.id {
		return nil, errNotOurs
	}
	m := &message{wire: wire, flags: binary.BigEndian.Uint16(wire[2:])}
	m.rcode = int(m.flags & maskRcode)
	if m.flags&flagQR == 0 || m.flags&maskOp != 0 {
		return nil, errNotOurs
	}
	if m.isRefusal() && len(wire) == headerLen {
		return m, nil // whatever its counts are: it may have those of the query
	}
	off, err := q.matchQuestion(m)
	if err != nil {
		return nil, err
	}
	if m.flags&flagTC != 0 && !m.isRefusal() {
		return m, nil // discarded anyway (RFC 2181 section 9)
	}
	err = m.sections(off)
	if m.isRefusal() {
		err = nil // the code is all that matters
	}
	return m, err
}

// isRefusal reports whether the response code means that there is no answer.
func (m *message) isRefusal() bool {
	return m.rcode != dns.RcodeSuccess && m.rcode != dns.RcodeNameError
}

// sections reads the records from off on. A message without a complete answer section
// is an error.
func (m *message) sections(off int) (err error) {
	if m.answer, off, err = m.section(off, 6); err != nil {
		return err
	}
	if m.authority, off, err = m.section(off, 8); err != nil {
		m.cut = true
		return nil
	}
	if m.additional, off, err = m.section(off, 10); err != nil {
		m.cut = true
		return nil
	}
	m.tail = slices.ContainsFunc(m.wire[off:], func(b byte) bool { return b != 0 })
	m.readOPT(m.additional)
	return nil
}

// matchQuestion is the offset after the question, which must be the one asked.
// A server that cannot read queries may leave it out of its refusal.
func (q *query) matchQuestion(m *message) (int, error) {
	switch binary.BigEndian.Uint16(m.wire[4:]) {
	case 0:
		if !m.isRefusal() {
			return 0, errNotOurs
		}
		return headerLen, nil
	case 1:
		name, off, err := dns.UnpackDomainName(m.wire, headerLen)
		if err != nil || len(m.wire) < off+4 {
			return 0, errCut
		}
		if canonicalOwner(name) != q.name {
			return 0, errNotOurs
		}
		if binary.BigEndian.Uint16(m.wire[off:]) != uint16(q.t) || binary.BigEndian.Uint16(m.wire[off+2:]) != dns.ClassINET {
			return 0, errNotOurs
		}
		return off + 4, nil
	default:
		return 0, errNotOurs
	}
}

// section reads the records of one section; count is the offset of their number
// in the header.
func (m *message) section(off, count int) ([]record, int, error) {
	var records []record
	for range binary.BigEndian.Uint16(m.wire[count:]) {
		owner, at, err := dns.UnpackDomainName(m.wire, off)
		if err != nil {
			return nil, 0, err
		}
		if len(m.wire) < at+10 {
			return nil, 0, errCut
		}
		r := record{
			owner: canonicalOwner(owner),
			t:     binary.BigEndian.Uint16(m.wire[at:]),
			class: binary.BigEndian.Uint16(m.wire[at+2:]),
			ttl:   binary.BigEndian.Uint32(m.wire[at+4:]),
			start: at + 10,
		}
		off = r.start + int(binary.BigEndian.Uint16(m.wire[at+8:]))
		if off > len(m.wire) {
			return nil, 0, errCut
		}
		r.end = off
		records = append(records, r)
	}
	return records, off, nil
}

// readOPT takes the extended response code (RFC 6891 section 6.1.3) and the
// extended errors (RFC 8914 section 2) out of the additional section.
func (m *message) readOPT(additional []record) {
	for _, r := range additional {
		if r.t != dns.TypeOPT {
			continue
		}
		m.edns = true
		m.rcode |= int(r.ttl>>24) << 4
		for data := m.wire[r.start:r.end]; len(data) >= 4; {
			code, n := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
			if data = data[4:]; n > len(data) {
				return
			}
			if code == dns.EDNS0EDE && n >= 2 {
				m.extended = append(m.extended, binary.BigEndian.Uint16(data))
			}
			data = data[n:]
		}
		return
	}
}

// name is the domain name that fills the data of r from start on; anything
// before or behind its end makes it no name.
func (m *message) name(start, end int) (string, bool) {
	name, off, err := dns.UnpackDomainName(m.wire[:end], start)
	return canonicalOwner(name), err == nil && off == end
}

// add appends the data of r to the records of its type in a. It is false if
// the data cannot be read.
func (m *message) add(a *Answer, r record) bool {
	data := m.wire[r.start:r.end]
	switch Type(r.t) {
	case TypeA, TypeAAAA:
		addr, ok := netip.AddrFromSlice(data)
		if !ok || addr.Is4() != (Type(r.t) == TypeA) {
			return false
		}
		a.Addrs = append(a.Addrs, addr)
	case TypeMX:
		if len(data) < 3 {
			return false
		}
		host, ok := m.name(r.start+2, r.end)
		if !ok {
			return false
		}
		a.MX = append(a.MX, MX{Preference: binary.BigEndian.Uint16(data), Host: host})
	case TypeNS:
		host, ok := m.name(r.start, r.end)
		if !ok {
			return false
		}
		a.NS = append(a.NS, host)
	case TypeTXT:
		text, ok := joinStrings(data)
		if !ok {
			return false
		}
		a.TXT = append(a.TXT, text)
	case TypeTLSA:
		if len(data) < 3 {
			return false
		}
		a.TLSA = append(a.TLSA, TLSA{Usage: data[0], Selector: data[1], MatchingType: data[2], Data: append([]byte(nil), data[3:]...)})
	case TypeSRV:
		if len(data) < 7 {
			return false
		}
		target, ok := m.name(r.start+6, r.end)
		if !ok {
			return false
		}
		a.SRV = append(a.SRV, SRV{
			Priority: binary.BigEndian.Uint16(data), Weight: binary.BigEndian.Uint16(data[2:]),
			Port: binary.BigEndian.Uint16(data[4:]), Target: target,
		})
	default:
		return false
	}
	return true
}

// joinStrings is the character-strings of a TXT record without blanks between
// them (RFC 7208 section 3.3 and others read it so).
func joinStrings(data []byte) (string, bool) {
	if len(data) == 0 {
		return "", false
	}
	var b strings.Builder
	for len(data) > 0 {
		n := int(data[0])
		if data = data[1:]; n > len(data) {
			return "", false
		}
		b.Write(data[:n])
		data = data[n:]
	}
	return b.String(), true
}
