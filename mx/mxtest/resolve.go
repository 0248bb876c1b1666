package mxtest

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/nexthop-mail/nexthop/mx"
)

var (
	errNotCanonical = errors.New("mxtest: the name is not canonical")
	errLoop         = errors.New("mxtest: the aliases lead in a circle")
)

// defaultTimeout is how long the fake waits for an answer.
const defaultTimeout = 5 * time.Second

// Resolve answers from the records and rules as a careful client of a trusted validating
// resolver would, without DNS messages. If a rule delays or drops the answer, it waits.
// The error is always a *mx.ResolveError.
func (d *DNS) Resolve(ctx context.Context, name string, t mx.Type) (mx.Answer, error) {
	fail := func(kind mx.ResolveErrorKind, cause error) (mx.Answer, error) {
		return mx.Answer{}, &mx.ResolveError{Name: name, Type: t, Kind: kind, Err: cause}
	}
	if err := ctx.Err(); err != nil {
		return fail(mx.Canceled, err)
	}
	if !isCanonical(name) {
		return fail(mx.NoAnswer, errNotCanonical)
	}
	a := d.ask(Query{Name: name, Type: t})
	if a.err != nil {
		return fail(mx.NoAnswer, a.err)
	}
	kind, failed := a.failure()
	delay, limit := a.delay, d.timeout()
	if delay > limit || failed && kind == mx.Timeout {
		kind, failed, delay = mx.Timeout, true, limit
	}
	if err := wait(ctx, delay); err != nil {
		return fail(mx.Canceled, err)
	}
	switch {
	case failed:
		return fail(kind, nil)
	case a.loop && a.fault != Empty:
		return fail(mx.AliasLoop, errLoop)
	}
	return a.facts(), nil
}

// isCanonical is whether name is as callers owe it to a Resolver.
func isCanonical(name string) bool {
	for i := range len(name) {
		if name[i] >= 0x80 {
			return false
		}
	}
	return name == canonical(name)
}

// wait waits, or returns the error of ctx where that ends first.
func wait(ctx context.Context, delay time.Duration) error {
	if delay <= 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *DNS) timeout() time.Duration {
	if d.Timeout == 0 {
		return defaultTimeout
	}
	return d.Timeout
}

// failure returns the result of a fault for a careful client; failed is false if it
// gets its answer nevertheless.
func (a *answer) failure() (kind mx.ResolveErrorKind, failed bool) {
	if a.then && a.fault.isNoise() {
		return 0, false
	}
	switch a.fault {
	case ServFail:
		return mx.ServFail, true
	case Refused, FormErr, NotImp, BadVers, BareFormErr:
		return mx.QueryRefused, true
	case Bogus:
		return mx.Bogus, true
	case Lame, NotServed:
		return mx.Lame, true
	case Timeout, Hangup, WrongID, WrongQuestion, Garbage, OtherOpcode:
		return mx.Timeout, true
	case Reset:
		return mx.Unreachable, true
	case TruncatedAlways:
		return mx.Truncated, true
	case LastLost:
		return mx.Malformed, !a.losesQuietly()
	case OtherName, Malformed, Cut, Uncounted, Contradicts, OtherType, OtherClass, OtherSection:
		return mx.Malformed, true
	case LastBroken:
		if len(a.records) == 1 && typeOf(a.records[0]) == mx.TypeTLSA {
			return 0, false
		}
		return mx.Malformed, len(a.chain)+len(a.records) > 0 && len(a.records) < 2
	default:
		return 0, false
	}
}

// facts is the answer in the terms of package mx.
func (a *answer) facts() mx.Answer {
	switch a.fault {
	case Empty:
		return mx.Answer{Status: mx.NoData, Name: a.asked}
	case NoSOA:
		if a.soa = nil; a.status == mx.NoData && len(a.aliases) > 0 {
			a.status = mx.Aliased // its end has no authoritative answer
		}
	case LastBroken:
		return a.withoutLast()
	case LastLost:
		made := a.withoutLast()
		made.Unreadable = 0
		return made
	}
	return a.known()
}

// losesQuietly reports whether a record can be missing without being noticed: a host
// has one address less.
func (a *answer) losesQuietly() bool {
	if len(a.records) < 2 {
		return false
	}
	switch typeOf(a.records[0]) {
	case mx.TypeMX, mx.TypeSRV, mx.TypeTLSA:
		return false
	}
	return true
}

// withoutLast is the answer with a last record that cannot be read.
func (a *answer) withoutLast() mx.Answer {
	if len(a.records) == 0 {
		return a.known()
	}
	a.records = a.records[:len(a.records)-1]
	made := a.known()
	made.Unreadable = 1
	return made
}

// known is what the records say.
func (a *answer) known() mx.Answer {
	made := mx.Answer{
		Status: a.status, Name: a.name, Aliases: a.aliases, Secure: a.secure, TTL: math.MaxInt64,
	}
	for _, rr := range a.chain {
		made.TTL = min(made.TTL, seconds(rr.Header().Ttl))
	}
	for _, rr := range a.records {
		made.TTL = min(made.TTL, seconds(rr.Header().Ttl))
		fill(&made, rr)
	}
	if made.Status == mx.NXDomain || made.Status == mx.NoData {
		made.TTL = min(made.TTL, a.negativeTTL())
	}
	return made
}

// negativeTTL is how long an absence holds (RFC 2308 section 5).
func (a *answer) negativeTTL() time.Duration {
	if a.soa == nil {
		return 0
	}
	return min(seconds(a.soa.Hdr.Ttl), seconds(a.soa.Minttl))
}

// seconds is a TTL; with the sign bit set it is zero (RFC 2181 section 8).
func seconds(ttl uint32) time.Duration {
	if ttl > math.MaxInt32 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// fill adds the data of a record to an answer.
func fill(a *mx.Answer, rr dns.RR) {
	switch rr := rr.(type) {
	case *dns.A:
		addr, _ := netip.AddrFromSlice(rr.A)
		a.Addrs = append(a.Addrs, addr.Unmap())
	case *dns.AAAA:
		addr, _ := netip.AddrFromSlice(rr.AAAA)
		a.Addrs = append(a.Addrs, addr)
	case *dns.MX:
		a.MX = append(a.MX, mx.MX{Preference: rr.Preference, Host: canonical(rr.Mx)})
	case *dns.NS:
		a.NS = append(a.NS, canonical(rr.Ns))
	case *dns.TXT:
		a.TXT = append(a.TXT, plainText(rr.Txt))
	case *dns.TLSA:
		a.TLSA = append(a.TLSA, mx.TLSA{
			Usage: rr.Usage, Selector: rr.Selector, MatchingType: rr.MatchingType, Data: hexBytes(rr.Certificate),
		})
	case *dns.SRV:
		a.SRV = append(a.SRV, mx.SRV{
			Priority: rr.Priority, Weight: rr.Weight, Port: rr.Port, Target: canonical(rr.Target),
		})
	}
}
