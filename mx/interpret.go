package mx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// failure says why a response is not an answer.
type failure struct {
	kind  ResolveErrorKind
	cause error
}

var (
	errUnreadable  = errors.New("a record of the type asked for cannot be read")
	errContradicts = errors.New("records for a name that is said not to exist")
	errStray       = errors.New("the records are about another name or of another type")
	errReferral    = errors.New("the server refers to others instead of answering")
	errNotServed   = errors.New("the server neither recurses nor speaks for the name")
)

// interpret returns the answer of a complete response. trusted says whether its AD bit
// is believed (RFC 6840 section 5.8). Records are believed if none of them may have
// been lost, and an absence only if nothing in the message contradicts it (sound.go).
func (q *query) interpret(m *message, trusted bool) (Answer, *failure) {
	if f := m.refusal(); f != nil {
		return Answer{}, f
	}
	if m.hasMisplacedOPT() {
		return Answer{}, &failure{Malformed, errMisplaced}
	}
	a := Answer{Name: q.name, Secure: trusted && m.flags&flagAD != 0, TTL: maxTTL}
	broken, f := m.walk(&a, q.t)
	if f != nil {
		return Answer{}, f
	}
	nonexistent := m.rcode == dns.RcodeNameError
	switch present := q.t == TypeCNAME && len(a.Aliases) > 0 || q.t != TypeCNAME && !empty(a, q.t); {
	case present && nonexistent:
		return Answer{}, &failure{Malformed, errContradicts}
	case present:
		if err := m.missesRecords(&a, q.t); err != nil {
			return Answer{}, &failure{Malformed, err}
		}
		a.Status = Success
		m.vouch(&a, trusted, q.t)
		return a, nil
	case broken || a.Unreadable > 0:
		// There is a record, so the answer must not be "none".
		return Answer{}, &failure{Malformed, errUnreadable}
	}
	if err := m.deniesAbsence(&a, q, nonexistent); err != nil {
		return Answer{}, &failure{Malformed, err}
	}
	f = m.absence(&a, nonexistent)
	m.vouch(&a, trusted, q.t)
	return a, f
}

// refusal is the failure that a response code stands for.
func (m *message) refusal() *failure {
	switch m.rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
		return nil
	case dns.RcodeServerFailure:
		f := &failure{kind: ServFail}
		for _, code := range m.extended {
			if code >= dns.ExtendedErrorCodeDNSSECIndeterminate && code <= dns.ExtendedErrorCodeNSECMissing {
				f.kind = Bogus
			}
			f.cause = extendedError(code)
		}
		return f
	default:
		text, ok := dns.RcodeToString[m.rcode]
		if !ok {
			text = fmt.Sprintf("code %d", m.rcode)
		}
		return &failure{QueryRefused, errors.New(text)}
	}
}

// extendedError is an extended error by its registered name. The text a server
// sends along is left alone.
func extendedError(code uint16) error {
	if text, ok := dns.ExtendedErrorCodeToString[code]; ok {
		return errors.New(text)
	}
	return fmt.Errorf("extended error %d", code)
}

// walk follows the aliases inside the answer section from a.Name and collects
// the records at their end. Only records on that chain count. broken is whether
// an alias on it cannot be read.
func (m *message) walk(a *Answer, t Type) (broken bool, f *failure) {
	for asked := a.Name; ; {
		if m.collect(a, t); !empty(*a, t) && t != TypeCNAME {
			return broken, nil
		}
		alias, ok := m.alias(a, &broken)
		if !ok {
			return broken, nil
		}
		a.Aliases = append(a.Aliases, alias)
		a.Name = alias.To
		if t == TypeCNAME {
			return broken, nil
		}
		if err := checkChain(*a, asked, t); err != nil {
			re, _ := errors.AsType[*ResolveError](err)
			return broken, &failure{re.Kind, re.Err}
		}
	}
}

// collect adds the records of type t at a.Name and lowers the TTL to theirs.
func (m *message) collect(a *Answer, t Type) {
	if t == TypeCNAME {
		return
	}
	for _, r := range m.answer {
		if r.t != uint16(t) || r.class != dns.ClassINET || r.owner != a.Name {
			continue
		}
		if !m.add(a, r) {
			a.Unreadable++
			continue
		}
		a.TTL = min(a.TTL, seconds(r.ttl))
	}
}

// alias is the CNAME at a.Name; broken is set if there is one that cannot be read.
func (m *message) alias(a *Answer, broken *bool) (Alias, bool) {
	for _, r := range m.answer {
		if r.t != dns.TypeCNAME || r.class != dns.ClassINET || r.owner != a.Name {
			continue
		}
		to, ok := m.name(r.start, r.end)
		if !ok || to == "" {
			*broken = true
			continue
		}
		a.TTL = min(a.TTL, seconds(r.ttl))
		return Alias{From: a.Name, To: to}, true
	}
	return Alias{}, false
}

// vouch sets the security of each alias from the AD bit. The bit is about the response
// as a whole (RFC 4035 section 3.2.3). If it is not set, the insecure part may be
// another link, or if there is no other, the absence of a record.
func (m *message) vouch(a *Answer, trusted bool, t Type) {
	of := SecurityUnknown
	switch {
	case !trusted:
		of = Insecure
	case m.flags&flagAD != 0:
		of = Secure
	case t == TypeCNAME:
		of = Insecure
	}
	for i := range a.Aliases {
		a.Aliases[i].Secure = of
	}
}

// absence tells apart the ways of having no record (RFC 2308 section 2). Its
// types of NXDOMAIN are all believed. Of NODATA, so is the one without an SOA
// record (type 3): forwarders and containers' resolvers send it. Without one it
// must come from a server that recurses or speaks for the name; it is used once.
func (m *message) absence(a *Answer, nonexistent bool) *failure {
	soa, hasSOA := m.negativeTTL(a.Name)
	switch {
	case nonexistent:
		a.Status = NXDomain
	case hasSOA:
		a.Status = NoData
	case len(a.Aliases) > 0:
		// The server does not speak for the target.
		a.Status = Aliased
		return nil
	case m.refers():
		return &failure{Lame, errReferral}
	case m.flags&(flagAA|flagRA) == 0 && !m.edns:
		return &failure{Lame, errNotServed}
	default:
		a.Status = NoData
	}
	a.TTL = min(a.TTL, soa)
	return nil
}

// negativeTTL is how long the absence of name holds: the lesser of the SOA
// record's TTL and its MINIMUM, and no time at all without one (RFC 2308
// section 5). Only the SOA of a zone that name is in counts.
func (m *message) negativeTTL(name string) (time.Duration, bool) {
	for _, r := range m.authority {
		if r.t != dns.TypeSOA || r.class != dns.ClassINET || !within(name, r.owner) || r.end-r.start < 22 {
			continue
		}
		minimum := binary.BigEndian.Uint32(m.wire[r.end-4:])
		return min(seconds(r.ttl), seconds(minimum)), true
	}
	return 0, false
}

// hasSOA reports whether an SOA record confirms the absence of name.
func (m *message) hasSOA(name string) bool {
	_, has := m.negativeTTL(name)
	return has
}

// refers reports whether the response only refers to other servers.
func (m *message) refers() bool {
	if m.flags&flagAA != 0 {
		return false
	}
	for _, r := range m.authority {
		if r.t == dns.TypeNS {
			return true
		}
	}
	return false
}

// within is whether name is zone or a name below it; both are canonical.
func within(name, zone string) bool {
	return zone == "" || name == zone || strings.HasSuffix(name, "."+zone)
}

// seconds is a TTL off the wire; with the sign bit set it is zero (RFC 2181
// section 8).
func seconds(ttl uint32) time.Duration {
	if ttl > math.MaxInt32 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}
