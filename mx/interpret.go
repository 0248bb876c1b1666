package mx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// failure is why a response is no answer.
type failure struct {
	kind  Failure
	cause error
}

var (
	errUnreadable  = errors.New("a record of the type asked for cannot be read")
	errContradicts = errors.New("records for a name that is said not to exist")
	errStray       = errors.New("the records are about another name")
	errReferral    = errors.New("the server refers to others instead of answering")
)

// interpret is what a complete response says about the question. trusted is
// whether its AD bit is believed (RFC 6840 section 5.8).
func (q *query) interpret(m *message, trusted bool) (Answer, *failure) {
	if f := m.refusal(); f != nil {
		return Answer{}, f
	}
	a := Answer{Name: q.name, Secure: trusted && m.flags&flagAD != 0, TTL: maxTTL}
	unreadable, f := m.walk(&a, q.t)
	if f != nil {
		return Answer{}, f
	}
	if q.t == TypeCNAME && len(a.Aliases) > 0 {
		a.Status = Success
		return a, nil
	}
	nonexistent := m.rcode == dns.RcodeNameError
	switch {
	case !empty(a, q.t) && q.t != TypeCNAME && nonexistent:
		return Answer{}, &failure{Malformed, errContradicts}
	case !empty(a, q.t) && q.t != TypeCNAME:
		a.Status = Success
	case unreadable:
		// Some record is there; to say "none" would be a lie.
		return Answer{}, &failure{Malformed, errUnreadable}
	case m.strays(&a, q):
		return Answer{}, &failure{Malformed, errStray}
	default:
		f = m.absence(&a, nonexistent)
	}
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
		return &failure{Refused, errors.New(text)}
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
// the records at their end. Only records on that chain count. unreadable is
// whether one that matters could not be read.
func (m *message) walk(a *Answer, t Type) (unreadable bool, f *failure) {
	for asked := a.Name; ; {
		if m.collect(a, t, &unreadable); !empty(*a, t) && t != TypeCNAME {
			return unreadable, nil
		}
		alias, ok := m.alias(a, &unreadable)
		if !ok {
			return unreadable, nil
		}
		a.Aliases = append(a.Aliases, alias)
		a.Name = alias.To
		if t == TypeCNAME {
			return unreadable, nil
		}
		if err := checkChain(*a, asked, t); err != nil {
			re, _ := errors.AsType[*ResolveError](err)
			return unreadable, &failure{re.Kind, re.Err}
		}
	}
}

// collect adds the records of type t at a.Name and lowers the TTL to theirs.
func (m *message) collect(a *Answer, t Type, unreadable *bool) {
	if t == TypeCNAME {
		return
	}
	for _, r := range m.answer {
		if r.t != uint16(t) || r.class != dns.ClassINET || r.owner != a.Name {
			continue
		}
		if !m.add(a, r) {
			*unreadable = true
			continue
		}
		a.TTL = min(a.TTL, seconds(r.ttl))
	}
}

// alias is the CNAME at a.Name.
func (m *message) alias(a *Answer, unreadable *bool) (Alias, bool) {
	for _, r := range m.answer {
		if r.t != dns.TypeCNAME || r.class != dns.ClassINET || r.owner != a.Name {
			continue
		}
		to, ok := m.name(r.start, r.end)
		if !ok || to == "" {
			*unreadable = true
			continue
		}
		a.TTL = min(a.TTL, seconds(r.ttl))
		return Alias{From: a.Name, To: to, Secure: a.Secure}, true
	}
	return Alias{}, false
}

// strays is whether there are answers, and about names that nobody asked for.
func (m *message) strays(a *Answer, q *query) bool {
	for _, r := range m.answer {
		if r.t != uint16(q.t) && r.t != dns.TypeCNAME {
			continue
		}
		if r.owner != q.name && !slices.ContainsFunc(a.Aliases, func(alias Alias) bool { return alias.To == r.owner }) {
			return true
		}
	}
	return false
}

// absence tells apart the ways of having no record (RFC 2308 section 2).
func (m *message) absence(a *Answer, nonexistent bool) *failure {
	if m.cut {
		return &failure{Malformed, errCut}
	}
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

// refers is whether the response names other servers and speaks for none.
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
