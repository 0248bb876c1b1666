package trust

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/mx"
)

// Source is a delivery.PolicySource that uses DANE, MTA-STS and rules. Set the fields
// and leave them alone after the first use. A zero Source with a Resolver works.
type Source struct {
	// Resolver is asked for TLSA records and MTA-STS records; required. It should be
	// the one that finds the routes. DANE depends on its answers being marked as
	// secure, so it must be trusted (see mx.Client). If no answer is secure, DANE
	// applies to no host.
	Resolver mx.Resolver

	// Store keeps MTA-STS policies. Default: memory, which is lost when the program
	// ends. Use a mtasts.Dir to keep them.
	Store mtasts.Store

	// Fetcher gets MTA-STS policies. Default: one with the Resolver.
	Fetcher *mtasts.Fetcher

	// NoDANE and NoMTASTS turn these off.
	NoDANE, NoMTASTS bool

	// DANE and MTASTS replace the sources made from the fields above, for programs that
	// need more of their settings. Their own Resolver and Store are used then.
	DANE   *dane.Source
	MTASTS *mtasts.Source

	// Rules are the rules in force until SetRules replaces them. Default is the level
	// for mail that no rule matches; its own default is DANE, which leaves it to
	// policies.
	Rules   []Rule
	Default Level

	// Audit checks and reports policies, but holds back no mail.
	Audit bool

	// Ratchet says how to treat mail to a host that can no longer be authenticated.
	// Default: send it, and report that.
	Ratchet Ratchet

	// Proofs remembers for the Ratchet which hosts and domains were authenticated.
	// Default: the directory of the Store if that is a mtasts.Dir, else memory, which is
	// lost when the program ends.
	Proofs ProofStore

	// Reuse is how long the Source remembers that neither DANE nor MTA-STS nor a rule
	// applies to a host, so that it need not look them up for each message. If any of them
	// applies, nothing is remembered. A second or two is enough: an Agent uses a route for
	// about that long. Default: 0, which looks them up for each message.
	Reuse time.Duration

	// Notice is called for notices that are not about a single message, such as a
	// policy that cannot be renewed. It may be nil. An Agent reports the same by
	// events.
	Notice func(*delivery.TLSNotice)

	once     sync.Once
	broken   error
	dane     *dane.Source // nil is off
	sts      *mtasts.Source
	replaced atomic.Pointer[[]Rule]
	notices  atomic.Pointer[func(*delivery.TLSNotice)]
	proofs   ProofStore
	telling  telling
	answers  answers
	nagging  nagging
}

var (
	_ delivery.OperatorPolicySource = (*Source)(nil)
	_ delivery.PolicyRefresher      = (*Source)(nil)
	_ delivery.PolicyRunner         = (*Source)(nil)
)

// Validate reports all invalid fields at once, or nil if there are none. A Source with
// invalid fields holds back all mail: a mistake in the configuration must neither
// bounce mail nor send it to the wrong host.
func (s *Source) Validate() error {
	var problems []error
	if s.Resolver == nil && (s.DANE == nil && !s.NoDANE || s.MTASTS == nil && !s.NoMTASTS) {
		problems = append(problems, errors.New("trust.Source.Resolver: it is required"))
	}
	if s.DANE != nil {
		problems = append(problems, s.DANE.Validate())
	}
	if s.MTASTS != nil {
		problems = append(problems, s.MTASTS.Validate())
	} else if d, ok := s.Store.(*mtasts.Dir); ok && d.Path == "" {
		problems = append(problems, errors.New("trust.Source.Store: it has no directory"))
	}
	if d, ok := s.Proofs.(*ProofDir); ok && d.Path == "" {
		problems = append(problems, errors.New("trust.Source.Proofs: it has no directory"))
	}
	if s.Default == Fingerprint || s.Default > Fingerprint {
		problems = append(problems, fmt.Errorf("trust.Source.Default: the level %v cannot be the default", s.Default))
	}
	if s.Ratchet > Refuse {
		problems = append(problems, fmt.Errorf("trust.Source.Ratchet: unknown value %d", s.Ratchet))
	}
	for i := range s.Rules {
		if err := s.Rules[i].Validate(); err != nil {
			problems = append(problems, fmt.Errorf("trust.Source.Rules[%d]: %w", i, err))
		}
	}
	return errors.Join(problems...)
}

// prepare makes of the fields what a Source works with, once.
func (s *Source) prepare() {
	s.once.Do(func() {
		if s.broken = s.Validate(); s.broken != nil {
			return
		}
		if s.replaced.Load() == nil && len(s.Rules) > 0 {
			s.broken = s.SetRules(s.Rules)
		}
		if !s.NoDANE {
			if s.dane = s.DANE; s.dane == nil {
				s.dane = &dane.Source{Resolver: s.Resolver}
			}
		}
		s.proofs = s.Proofs
		if dir, ok := s.Store.(*mtasts.Dir); ok && s.proofs == nil {
			s.proofs = &ProofDir{Path: dir.Path}
		} else if s.proofs == nil {
			s.proofs = &ProofMemory{}
		}
		if !s.NoMTASTS {
			if s.sts = s.MTASTS; s.sts == nil {
				s.sts = &mtasts.Source{Resolver: s.Resolver, Store: s.Store, Fetcher: s.Fetcher, Trace: s.trace()}
			}
		}
	})
}

// TLSPolicy implements delivery.PolicySource, in the steps listed in the package
// comment.
func (s *Source) TLSPolicy(ctx context.Context, route *mx.Route, host *mx.Host) (delivery.TLSPolicy, error) {
	return s.inquire(ctx, route, host, false)
}

// OperatorTLSPolicy implements delivery.OperatorPolicySource. It returns the
// requirements of the rules and of Default. The levels Verify and DANEOnly still
// require authentication; MTA-STS policies are not used.
func (s *Source) OperatorTLSPolicy(ctx context.Context, route *mx.Route, host *mx.Host) (delivery.TLSPolicy, error) {
	return s.inquire(ctx, route, host, true)
}

// inquire is both, the latter if rulesAlone. Most answers are recent, and what makes the
// others has a frame of its own: with that frame on it, the stack of a message's goroutine
// would have to grow for each of them.
func (s *Source) inquire(ctx context.Context, route *mx.Route, host *mx.Host, rulesAlone bool) (delivery.TLSPolicy, error) {
	s.prepare()
	if p, ok := s.recent(route, host, rulesAlone); ok {
		return p, nil
	}
	return s.inquireAnew(ctx, route, host, rulesAlone)
}

// inquireAnew is inquire if there is no recent answer.
func (s *Source) inquireAnew(ctx context.Context, route *mx.Route, host *mx.Host, rulesAlone bool) (delivery.TLSPolicy, error) {
	c := &inquiry{source: s, domain: route.Domain, host: host.Name, rulesAlone: rulesAlone}
	if s.broken != nil {
		return delivery.TLSPolicy{}, c.misconfigured(s.broken)
	}
	began, rules := time.Now(), s.replaced.Load()
	c.rule = s.ruleFor(route, host)
	c.audit = s.Audit || c.rule != nil && c.rule.Audit
	c.evidence = newEvidence(route, host, c.rule)
	if c.rule.level().fixed() {
		return c.byRule(), nil
	}
	if rulesAlone && c.rule.level().floor() < mx.TLSVerify {
		return c.withoutPolicies(), nil
	}
	if s.dane != nil {
		c.dane = s.askDANE(ctx, c.rule, route, host)
	} else if c.rule.level() == DANEOnly {
		return delivery.TLSPolicy{}, c.misconfigured(errNoDANE)
	}
	if c.dane != nil && c.dane.Err() != nil && !c.audit {
		return delivery.TLSPolicy{}, c.decide(nil).Err()
	}
	if s.sts != nil && route.Via != mx.ViaLiteral && !rulesAlone {
		c.policyDomain = policyDomain(route, host)
		found := s.sts.Find(ctx, c.policyDomain)
		c.sts = &found
	}
	if c.sts != nil && c.stsDecides() && c.sts.JudgeName(c.host).Err() != nil && !c.audit {
		return delivery.TLSPolicy{}, c.decide(nil).Err()
	}
	if c.isUnread() && ctx.Err() == nil {
		s.policiesFailed(c.policyDomain, c.sts.Unread) // a Source of MTASTS may not tell of it
	}
	c.recall(ctx)
	if (c.isUnread() || c.isUnrecalled()) && !c.audit {
		return delivery.TLSPolicy{}, c.decide(nil).Err()
	}
	p := c.policy()
	c.keep(ctx, route, host, &p, rules, began)
	return p, nil
}

var errNoDANE = errors.New("a rule wants DANE, which is off")

// askDANE finds out what DANE asks of a host.
func (s *Source) askDANE(ctx context.Context, rule *Rule, route *mx.Route, host *mx.Host) *dane.Policy {
	if rule.level() != DANEOnly || s.dane.Mandatory {
		return s.dane.Find(ctx, route, host)
	}
	mandatory := *s.dane
	mandatory.Mandatory = true
	return mandatory.Find(ctx, route, host)
}

// policyDomain returns the domain whose MTA-STS policy applies to a host: the
// destination, or the domain of a smart host (RFC 8461 section 3.4).
func policyDomain(route *mx.Route, host *mx.Host) string {
	if route.Via != mx.ViaSmartHost && route.Via != mx.ViaFallback {
		return route.Domain
	}
	for _, name := range host.Identities {
		if !strings.HasPrefix(name, "_") {
			return name
		}
	}
	return host.Name
}

// byRule returns the policy of a rule that decides alone.
func (c *inquiry) byRule() delivery.TLSPolicy {
	return delivery.TLSPolicy{
		Level: c.rule.Level.floor(), Exact: true, MinVersion: c.rule.MinVersion, Certificate: c.rule.Certificate,
		Key: c.rule.key(), Basis: c.basis(), Judge: c.decide,
	}
}

// unsure is why it is not known whether the domain has a policy that names its hosts.
func (c *inquiry) unsure() error {
	switch {
	case c.sts == nil || c.sts.Policy != nil:
		return nil
	case c.sts.Unread != nil:
		return c.sts.Unread
	case c.sts.Unknown != nil:
		return c.sts.Unknown
	case c.sts.ResultType() != mtasts.PolicyInvalid:
		return c.sts.Err
	default:
		return nil
	}
}

// withoutPolicies returns the requirements of a rule if policies are not used, without
// a Judge.
func (c *inquiry) withoutPolicies() delivery.TLSPolicy {
	p := delivery.TLSPolicy{Key: c.rule.key()}
	c.demand(&p)
	return p
}

// demand fills in what a rule asks for beside its level. Where there is a least version,
// there must be TLS: mail that may go in clear would be sent so to a host without it.
func (c *inquiry) demand(p *delivery.TLSPolicy) {
	if c.rule == nil {
		return
	}
	if p.MinVersion, p.Certificate = c.rule.MinVersion, c.rule.Certificate; p.MinVersion > 0 {
		p.Level = max(p.Level, mx.TLSEncrypt)
	}
}

// policy returns the policy made from the facts.
func (c *inquiry) policy() delivery.TLSPolicy {
	p := delivery.TLSPolicy{Level: c.rule.level().floor(), Basis: c.basis(), Judge: c.decide}
	c.demand(&p)
	var keys []string
	if c.dane != nil && c.dane.Outcome >= dane.Unusable {
		if !c.audit {
			p.Level = max(p.Level, c.daneLevel())
		}
		if c.dane.Outcome == dane.Usable {
			p.Source, p.ServerName = "dane", c.dane.ServerName()
			keys = append(keys, c.dane.Key())
		}
		p.Expires = time.Now().Add(c.dane.TTL)
	}
	if c.sts != nil && c.stsDecides() {
		p.ServerName, p.Source, p.Vouched = c.host, "mta-sts", true
		if !c.audit {
			p.Level = max(p.Level, mx.TLSVerify)
		}
		keys = append(keys, "mta-sts")
	}
	p.Unsure = c.unsure()
	if c.audit {
		p.Source, p.Vouched = "", false
		keys = append(keys, "audit")
	}
	if key := c.rule.key(); key != "" {
		keys = append(keys, key)
	}
	p.Key = strings.Join(keys, " ")
	return p
}

// daneLevel returns the level that DANE requires. Records do not prove that a host
// belongs to the domain if that is not known otherwise, but they must still match; the
// Decision says this.
func (c *inquiry) daneLevel() mx.TLSLevel {
	if !c.dane.DomainSecure {
		return mx.TLSEncrypt
	}
	return c.dane.Level()
}
