package clienttest_test

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery/smtptest/clienttest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// reference is a plain mail client that gets the scenarios right, except for
// the one defect planted in it.
type reference struct {
	clienttest.Setup
	defect string
}

func (r *reference) has(defect string) bool { return r.defect == defect }

func (r *reference) Close() error { return nil }

// verdicts on one recipient at one host, as in package delivery.
type verdict int

const (
	notNow verdict = iota
	hostRefuses
	refused
	maybe
	takenIt
)

// state is a recipient on its way.
type state struct {
	recipient queue.Recipient
	verdicts  []verdict
}

func (s *state) open() bool {
	for _, v := range s.verdicts {
		if v >= refused {
			return false
		}
	}
	return true
}

// outcome is the verdict over all hosts.
func (s *state) outcome() queue.Outcome {
	best := hostRefuses
	for _, v := range s.verdicts {
		if rank := []verdict{1, 0, 2, 3, 4}; rank[v] > rank[best] {
			best = v
		}
	}
	if len(s.verdicts) == 0 {
		best = notNow
	}
	return []queue.Outcome{queue.Deferred, queue.Failed, queue.Failed, queue.Unknown, queue.Delivered}[best]
}

func (r *reference) Deliver(ctx context.Context, m *queue.Message) []queue.Outcome {
	states := make([]state, len(m.Recipients))
	byDomain := map[string][]*state{}
	for i, to := range m.Recipients {
		states[i].recipient = to
		if !r.has("line ends in addresses pass") && strings.ContainsAny(m.From+to.Address, "\r\n\x00") {
			states[i].verdicts = []verdict{refused}
			continue
		}
		domain := strings.ToLower(to.Address[strings.LastIndex(to.Address, "@")+1:])
		byDomain[domain] = append(byDomain[domain], &states[i])
	}
	for domain, group := range byDomain {
		r.walk(ctx, m, domain, group)
	}
	outcomes := make([]queue.Outcome, len(states))
	for i := range states {
		outcomes[i] = states[i].outcome()
	}
	return outcomes
}

// walk takes the recipients of a domain from host to host.
func (r *reference) walk(ctx context.Context, m *queue.Message, domain string, group []*state) {
	all := func(v verdict) {
		for _, s := range group {
			s.verdicts = append(s.verdicts, v)
		}
	}
	hosts, v, found := r.route(ctx, domain)
	if !found {
		all(v)
		return
	}
	if v == notNow && slices.ContainsFunc(hosts, func(h host) bool { return h.failed }) {
		all(notNow)
	}
	for i, h := range hosts {
		if r.has("only the first host is tried") && i > 0 {
			break
		}
		for j, addr := range h.addrs {
			if r.has("only the first address is tried") && j > 0 {
				break
			}
			if !r.visit(ctx, m, addr, group) {
				continue
			}
			break
		}
	}
	if r.has("the domain's address is used where MX hosts fail") && group[0].open() {
		if a, err := r.Internet.Resolve(ctx, domain, mx.TypeA); err == nil && len(a.Addrs) > 0 {
			r.visit(ctx, m, a.Addrs[0], group)
		}
	}
}

// host is a next hop.
type host struct {
	name       string
	preference uint16
	addrs      []netip.Addr
	failed     bool // its addresses could not be looked up
}

// route finds the hosts of a domain in order, or a verdict.
func (r *reference) route(ctx context.Context, domain string) ([]host, verdict, bool) {
	if literal, ok := strings.CutPrefix(domain, "["); ok && !r.has("literals are looked up") {
		addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(strings.ToLower(literal), "ipv6:"), "]"))
		return []host{{addrs: []netip.Addr{addr}}}, notNow, err == nil
	}
	answer, err := mx.Follow(ctx, r.Internet, strings.Trim(domain, "[]"), mx.TypeMX)
	switch {
	case err != nil && r.has("SERVFAIL leads to the domain's address"):
		answer = mx.Answer{Status: mx.NoData, Name: domain}
	case err != nil:
		return nil, notNow, false
	case answer.Status == mx.NXDomain && r.has("NXDOMAIN leads to the domain's address"):
		answer.Status = mx.NoData
	case answer.Status == mx.NXDomain && r.has("NXDOMAIN is temporary"):
		return nil, notNow, false
	case answer.Status == mx.NXDomain:
		return nil, refused, false
	}
	var hosts []host
	for _, rec := range answer.MX {
		if (rec.Host == "" || rec.Host == ".") && !r.has("null MX is dialled") {
			if len(answer.MX) == 1 {
				return nil, refused, false
			}
			continue
		}
		name := rec.Host
		if name == "" || name == "." {
			name = domain
		}
		hosts = append(hosts, host{name: name, preference: rec.Preference})
	}
	if answer.Status != mx.Success {
		if r.has("implicit MX is not known") {
			return nil, refused, false
		}
		hosts = []host{{name: answer.Name}}
	}
	return r.resolve(ctx, r.order(hosts))
}

// order sorts, shuffles, and leaves out oneself.
func (r *reference) order(hosts []host) []host {
	if !r.has("equals are not shuffled") {
		rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	}
	if !r.has("preferences are not looked at") {
		slices.SortStableFunc(hosts, func(a, b host) int { return int(a.preference) - int(b.preference) })
	} else {
		slices.SortStableFunc(hosts, func(a, b host) int { return strings.Compare(b.name, a.name) })
	}
	if r.has("oneself is dialled") {
		return hosts
	}
	for _, h := range hosts {
		if !slices.ContainsFunc(r.Self, func(s string) bool { return strings.EqualFold(strings.TrimSuffix(s, "."), h.name) }) {
			continue
		}
		return slices.DeleteFunc(hosts, func(o host) bool {
			if r.has("hosts equal to oneself are dialled") {
				return o.preference > h.preference || o.name == h.name
			}
			return o.preference >= h.preference
		})
	}
	return hosts
}

// resolve finds the hosts' addresses.
func (r *reference) resolve(ctx context.Context, hosts []host) ([]host, verdict, bool) {
	usable, failed := 0, false
	for i := range hosts {
		h := &hosts[i]
		bad := false
		for _, t := range []mx.Type{mx.TypeA, mx.TypeAAAA} {
			answer, err := mx.Follow(ctx, r.Internet, h.name, t)
			bad = bad || err != nil
			if err != nil && r.has("a failing AAAA query spoils the host") {
				h.addrs = nil
				break
			}
			for _, a := range answer.Addrs {
				if !a.IsLoopback() || r.has("loopback is dialled") {
					h.addrs = append(h.addrs, a)
				}
			}
		}
		h.failed = bad && len(h.addrs) == 0
		failed = failed || h.failed
		usable += len(h.addrs)
		if r.has("a host without an address ends the route") && len(h.addrs) == 0 {
			return nil, refused, false
		}
	}
	switch {
	case usable > 0:
		return hosts, notNow, true
	case failed && !r.has("an address lookup that fails is final"):
		return nil, notNow, false
	default:
		return nil, refused, false
	}
}
