package mxtest

import (
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/nexthop-mail/nexthop/mx"
)

// answer is what a question meets: the facts, and what goes wrong on the way.
type answer struct {
	status  mx.Status
	asked   string     // the name asked for
	name    string     // owner of the records, or of their absence
	aliases []mx.Alias // from the name asked for to name
	chain   []dns.RR   // the records that make the aliases
	records []dns.RR   // of the type asked for
	soa     *dns.SOA   // of an absence; nil if no zone has one
	secure  bool       // every step is signed
	loop    bool       // name has been on the way before

	fault    Fault
	then     bool // the right answer follows
	ignorant bool // the server knows no EDNS
	over     int  // the fault is one of larger responses
	delay    time.Duration
	err      error // the DNS cannot answer anything
}

// ask records the question and finds its rule.
func (d *DNS) ask(asked Query) *answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.validate(); err != nil {
		return &answer{err: err}
	}
	q := question{asked.Name, asked.Type}
	d.note(asked, q)
	a := &answer{asked: q.name, name: q.name, secure: true}
	r := d.ruleFor(q, &asked, true)
	for d.step(a, q.t, r) {
		r = d.ruleFor(question{a.name, q.t}, &asked, false)
	}
	for i := range a.aliases {
		a.aliases[i].Secure = d.vouch(a, i, q.t)
	}
	return a
}

// vouch returns whether the i-th alias is signed. A validating resolver knows this. One
// AD bit is about a response as a whole; without it, it says something about a link
// only if that was the question.
func (d *DNS) vouch(a *answer, i int, t mx.Type) mx.Security {
	switch {
	case a.secure, d.Validates && d.isSigned(a.aliases[i].From):
		return mx.Secure
	case d.Validates, t == mx.TypeCNAME:
		return mx.Insecure
	default:
		return mx.SecurityUnknown
	}
}

// step adds the records at a.name to the answer. It returns true if that is an alias to
// follow.
func (d *DNS) step(a *answer, t mx.Type, r *rule) bool {
	a.secure = a.secure && d.isSigned(a.name)
	aliasOnly := false
	if r != nil {
		a.delay += r.Delay
		switch r.Fault {
		case NXDomain:
			d.absent(a, mx.NXDomain)
			return false
		case NoData:
			d.absent(a, mx.NoData)
			return false
		case AliasOnly:
			aliasOnly = true
		default:
			if a.fault == None {
				a.fault, a.then, a.over = r.Fault, r.ThenAnswer, r.Over
				a.ignorant = r.EDNS == WithEDNS
			}
		}
	}
	records, exists := d.recordsAt(a.name, r)
	if found := ofType(records, t); len(found) > 0 && t != mx.TypeCNAME {
		a.status, a.records = mx.Success, named(found, a.name)
		return false
	}
	target, chain, ok := d.aliasAt(a.name, records)
	if !ok {
		if exists {
			d.absent(a, mx.NoData)
		} else {
			d.absent(a, mx.NXDomain)
		}
		return false
	}
	a.chain = append(a.chain, chain...)
	a.loop = target == a.name || slices.ContainsFunc(a.aliases, func(b mx.Alias) bool { return b.From == target })
	a.aliases = append(a.aliases, mx.Alias{From: a.name, To: target})
	a.name = target
	switch {
	case t == mx.TypeCNAME:
		a.status = mx.Success
	case aliasOnly || a.loop:
		a.status = mx.Aliased
	default:
		return true
	}
	return false
}

// absent makes a the absence of records at its name.
func (d *DNS) absent(a *answer, s mx.Status) {
	a.status, a.soa = s, d.zone.soa(a.name)
}

// recordsAt is what there is at name for a question that r applies to.
func (d *DNS) recordsAt(name string, r *rule) (records []dns.RR, exists bool) {
	if r != nil && r.records != nil {
		return r.records.records[name], true
	}
	return d.zone.at(name)
}

// aliasAt is where the records at name lead to, and the records that say so.
func (d *DNS) aliasAt(name string, records []dns.RR) (target string, chain []dns.RR, ok bool) {
	if found := ofType(records, mx.TypeCNAME); len(found) > 0 {
		chain = named(found[:1], name)
		return canonical(chain[0].(*dns.CNAME).Target), chain, true
	}
	dname, target, ok := d.zone.dname(name)
	if !ok {
		return "", nil, false
	}
	return target, []dns.RR{dname, &dns.CNAME{
		Hdr:    dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: dname.Hdr.Ttl},
		Target: dns.Fqdn(target),
	}}, true
}

// isSigned is whether the closest entry of Signed says so.
func (d *DNS) isSigned(name string) bool {
	for {
		if is, ok := d.signed[name]; ok || name == "" {
			return is
		}
		name = parent(name)
	}
}

// ofType is the records of one type, in their order.
func ofType(records []dns.RR, t mx.Type) []dns.RR {
	var found []dns.RR
	for _, rr := range records {
		if typeOf(rr) == t {
			found = append(found, rr)
		}
	}
	return found
}

// named returns records with the owner name; those of a wildcard are copied.
func named(records []dns.RR, name string) []dns.RR {
	if canonical(records[0].Header().Name) == name {
		return records
	}
	made := make([]dns.RR, len(records))
	for i, rr := range records {
		made[i] = dns.Copy(rr)
		made[i].Header().Name = dns.Fqdn(name)
	}
	return made
}
