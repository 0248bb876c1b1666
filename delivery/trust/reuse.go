package trust

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/internal/age"
	"github.com/nexthop-mail/nexthop/mx"
)

// answers are those of recent inquiries about hosts for which no policy or rule asked for
// anything, and of which nothing was proved before. Its zero value is ready.
type answers struct {
	mu sync.Mutex
	of map[answerKey]answer
}

// answerKey is what an answer depends on, beside the addresses of the host and the rules.
type answerKey struct {
	domain, host, target string
	site                 string // if a rule is about one
	port                 uint16
	via                  mx.Via
	secure               bool
	name, address        mx.Security
	rulesAlone           bool
}

type answer struct {
	policy delivery.TLSPolicy
	addrs  []netip.Addr
	rules  *[]Rule
	at     time.Time
}

// mostAnswers limits how many are kept.
const mostAnswers = 4096

// keyOf returns the key of an inquiry by some rules; false if its answer is not to be kept.
func keyOf(rules *[]Rule, route *mx.Route, host *mx.Host, rulesAlone bool) (k answerKey, ok bool) {
	if len(route.Aliases)+len(host.Identities) > 0 {
		return k, false
	}
	return answerKey{
		domain: route.Domain, host: host.Name, target: host.Target, site: siteFor(rules, route), port: host.Port, via: route.Via,
		secure: route.Secure, name: host.NameSecure, address: host.Secure, rulesAlone: rulesAlone,
	}, true
}

// siteFor returns the site of a route if a rule is about any, else "".
func siteFor(rules *[]Rule, route *mx.Route) string {
	if rules == nil || !slices.ContainsFunc(*rules, func(r Rule) bool { return r.Match.Site != "" }) {
		return ""
	}
	return siteName(route.Hosts)
}

// recent returns the answer of an inquiry that was made not longer ago than Reuse.
func (s *Source) recent(route *mx.Route, host *mx.Host, rulesAlone bool) (p delivery.TLSPolicy, ok bool) {
	if s.Reuse <= 0 {
		return p, false
	}
	rules := s.replaced.Load()
	k, ok := keyOf(rules, route, host, rulesAlone)
	if !ok {
		return p, false
	}
	s.answers.mu.Lock()
	defer s.answers.mu.Unlock()
	a, ok := s.answers.of[k]
	if !ok || age.Since(a.at) >= s.Reuse || a.rules != rules || !slices.Equal(a.addrs, host.Addrs) {
		return p, false
	}
	return a.policy, true
}

// repeated is an inquiry whose answer may be used again. Nothing asks it for anything, so
// it decides the same about all sessions of a kind without TLS. Sessions that carry mail to
// many domains are judged anew for each message: the last such decision is remembered.
type repeated struct {
	*inquiry
	last atomic.Pointer[inClear]
}

// inClear is a decision about a session without TLS, and what it depends on.
type inClear struct {
	addr     netip.AddrPort
	local    netip.Addr
	helo     string
	offered  bool
	decision *delivery.Decision
}

// decide is the decision about a connection; see inquiry.decide.
func (r *repeated) decide(h *delivery.Handshake) *delivery.Decision {
	if h == nil || h.State != nil || h.Err != nil || h.Unparsable {
		return r.inquiry.decide(h)
	}
	last := r.last.Load()
	if last == nil || last.addr != h.Addr || last.local != h.Local.Addr() || last.helo != h.Helo || last.offered != h.Offered {
		last = &inClear{h.Addr, h.Local.Addr(), h.Helo, h.Offered, r.inquiry.decide(h)}
		r.last.Store(last)
	}
	return last.decision
}

// keep keeps an answer that was given at a time, by these rules, if it may be used again.
// If a question failed, or was given up, it is not known that nothing asks for anything:
// the next message asks again.
func (c *inquiry) keep(ctx context.Context, route *mx.Route, host *mx.Host, p *delivery.TLSPolicy, rules *[]Rule, at time.Time) {
	s := c.source
	if s.Reuse <= 0 || c.rule != nil || c.audit || p.Basis != "" || p.Key != "" || len(c.before) > 0 {
		return
	}
	if ctx.Err() != nil || c.unrecalled != nil || p.Unsure != nil {
		return
	}
	k, ok := keyOf(rules, route, host, c.rulesAlone)
	if !ok {
		return
	}
	p.Judge = (&repeated{inquiry: c}).decide
	s.answers.mu.Lock()
	defer s.answers.mu.Unlock()
	if s.answers.of == nil || len(s.answers.of) >= mostAnswers {
		s.answers.of = make(map[answerKey]answer)
	}
	s.answers.of[k] = answer{*p, slices.Clone(host.Addrs), rules, at}
}
