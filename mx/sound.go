package mx

import (
	"encoding/binary"
	"errors"
	"reflect"
	"slices"

	"github.com/miekg/dns"
)

// Reasons why a message that can be read is not believed. Servers and middleboxes that
// build a response from the query leave parts of it in place: the OPT record becomes an
// answer, and an answer becomes an additional record, or follows the last record that
// is counted. The rest looks like the absence of records, or like a smaller set.
var (
	errMisplaced = errors.New("records stand in a section where they do not belong")
	errTail      = errors.New("the message has more than its header counts")
)

// hasMisplacedOPT reports whether there is an OPT record outside of the additional
// section (RFC 6891 section 6.1.1). The boundaries of the sections are then wrong.
func (m *message) hasMisplacedOPT() bool {
	isOPT := func(r record) bool { return r.t == dns.TypeOPT }
	return slices.ContainsFunc(m.answer, isOPT) || slices.ContainsFunc(m.authority, isOPT)
}

// missesRecords returns why the records collected in a may not be the whole set of type
// t, or nil if nothing indicates that. It matters for types of which each record
// counts: without one of its MX records, the mail of a domain goes to the wrong host.
func (m *message) missesRecords(a *Answer, t Type) error {
	if t != TypeMX && t != TypeSRV && t != TypeTLSA {
		return nil
	}
	if m.tail {
		return errTail
	}
	for _, section := range [][]record{m.authority, m.additional} {
		for _, r := range section {
			if r.t != uint16(t) || r.class != dns.ClassINET || r.owner != a.Name {
				continue
			}
			var other Answer
			if !m.add(&other, r) || !a.includes(&other) {
				return errMisplaced
			}
		}
	}
	return nil
}

// includes is whether a has the one record of b.
func (a *Answer) includes(b *Answer) bool {
	for _, record := range b.MX {
		return slices.Contains(a.MX, record)
	}
	for _, record := range b.SRV {
		return slices.Contains(a.SRV, record)
	}
	return slices.ContainsFunc(a.TLSA, func(t TLSA) bool { return reflect.DeepEqual(t, b.TLSA[0]) })
}

// deniesAbsence returns why a message without a record of the type asked for at a.Name
// does not mean that there is none, or nil if nothing in it indicates that.
func (m *message) deniesAbsence(a *Answer, q *query, nonexistent bool) error {
	switch {
	case m.cut:
		return errCut
	case m.tail:
		return errTail
	case slices.ContainsFunc(m.answer, func(r record) bool { return !m.explains(r, a, q) }):
		return errStray
	}
	for _, section := range [][]record{m.authority, m.additional} {
		for _, r := range section {
			if r.owner != a.Name || r.class != dns.ClassINET {
				continue
			}
			if r.t == uint16(q.t) && q.t != TypeNS {
				return errMisplaced
			}
			if nonexistent && !isAboutAbsence(r.t) {
				return errContradicts
			}
		}
	}
	return nil
}

// explains reports whether a record of the answer section belongs to the aliases that
// lead to a.Name, or to their proofs. A DNAME record without the alias made from it
// (RFC 6672 section 3.1), and a signature of missing records, are remains of a longer
// answer.
func (m *message) explains(r record, a *Answer, q *query) bool {
	switch r.t {
	case dns.TypeDNAME:
		return len(a.Aliases) > 0
	case dns.TypeRRSIG:
		return r.end-r.start > 2 && binary.BigEndian.Uint16(m.wire[r.start:]) != uint16(q.t)
	case dns.TypeNSEC, dns.TypeNSEC3:
		return true
	case dns.TypeCNAME:
		return r.class == dns.ClassINET && (r.owner == q.name && len(a.Aliases) > 0 ||
			slices.ContainsFunc(a.Aliases, func(alias Alias) bool { return alias.To == r.owner }))
	}
	return false
}

// isAboutAbsence reports whether records of a type may be at a name that does not
// exist: filters send an SOA record of their own.
func isAboutAbsence(t uint16) bool {
	switch t {
	case dns.TypeSOA, dns.TypeNS, dns.TypeOPT, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3:
		return true
	}
	return false
}
