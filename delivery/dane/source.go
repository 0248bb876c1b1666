package dane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nexthop-mail/nexthop/mx"
)

// Source determines the requirements of DANE for mail hosts. Set the fields and leave
// them alone after the first use; then it is safe for concurrent use.
type Source struct {
	// Resolver is asked for TLSA records, and for aliases and addresses if the route
	// does not say whether they are secure; required. If its answers are never secure,
	// no host has records that count: see Probe.
	Resolver mx.Resolver

	// Port is the TCP port of hosts that do not have one in the route. Default: 25.
	Port uint16

	// Mandatory allows mail only to hosts that are authenticated by DANE. The policy of
	// a host without usable records is then an error.
	Mandatory bool

	// InsecureMX looks up the records of hosts that insecure MX records name, too (RFC
	// 7672 section 2.2.1). They authenticate the host under its own name only, and
	// prove nothing about the domain: an attacker who can forge the MX records can name
	// another host.
	InsecureMX bool

	// Digests are the matching types of digests, the strongest first. Default: SHA512,
	// SHA256. Others are unusable. SHA256 must be among them (RFC 7672 section 3.1).
	Digests []uint8
}

// Validate reports all invalid fields at once, or nil if there are none.
func (s *Source) Validate() error {
	var problems []error
	if s.Resolver == nil {
		problems = append(problems, errors.New("dane.Source.Resolver: it is required"))
	}
	for i, digest := range s.Digests {
		if digest != SHA256 && digest != SHA512 || slices.Contains(s.Digests[:i], digest) {
			problems = append(problems, fmt.Errorf("dane.Source.Digests[%d]: %d is not a digest, or stands there twice", i, digest))
		}
	}
	if s.Digests != nil && !slices.Contains(s.Digests, SHA256) {
		problems = append(problems, errors.New("dane.Source.Digests: SHA256 is required (RFC 7672 section 3.1)"))
	}
	return errors.Join(problems...)
}

// ErrNoDNSSEC is returned by Probe if answers are never secure: the resolver does not
// validate, is not trusted, or something on the path to it removes the AD bit.
var ErrNoDNSSEC = errors.New("the resolver does not report DNSSEC validation (no trusted AD bit for the root zone)")

// Probe asks for the name servers of the root, which are signed. It returns nil if the
// resolver says that the answer is secure. If the answer is not secure, the error is
// ErrNoDNSSEC. DANE then applies to no host, and programs should say so when they start
// (RFC 7672 section 2.1.1). Any other error is a *mx.ResolveError: there was no answer,
// and nothing is known.
func Probe(ctx context.Context, r mx.Resolver) error {
	a, err := mx.Follow(ctx, r, "", mx.TypeNS)
	if err == nil && !a.Secure {
		err = ErrNoDNSSEC
	}
	return err
}

// Step is one question of Find and its result.
type Step struct {
	Name     string      `json:"name"`
	Type     string      `json:"type"`
	Status   string      `json:"status"` // records, none, or the failure
	Security mx.Security `json:"security"`
	Aliases  []string    `json:"aliases,omitempty"` // the names that the answer led to
}

// search is one Find on its way.
type search struct {
	*Source
	ctx    context.Context
	route  *mx.Route
	host   *mx.Host
	policy Policy
}

// Find determines the requirements of DANE for a host of a route, in the steps listed
// in the package comment. It never fails: an error is part of the Policy.
func (s *Source) Find(ctx context.Context, route *mx.Route, host *mx.Host) *Policy {
	f := search{Source: s, ctx: ctx, route: route, host: host, policy: Policy{
		Domain: route.Domain, Host: host.Name, Port: s.port(host), Mandatory: s.Mandatory,
		DomainSecure: vouched(route, host),
	}}
	if err := s.Validate(); err != nil {
		f.fail(Misconfigured, err)
		return &f.policy
	}
	f.find()
	return &f.policy
}

func (s *Source) port(host *mx.Host) uint16 {
	switch {
	case host.Port != 0:
		return host.Port
	case s.Port != 0:
		return s.Port
	default:
		return 25
	}
}

func (s *Source) digests() []uint8 {
	if s.Digests == nil {
		return []uint8{SHA512, SHA256}
	}
	return s.Digests
}

// vouched reports whether the host is known to belong to the domain or the operator:
// the MX records that name it are secure, or there are none.
func vouched(route *mx.Route, host *mx.Host) bool {
	switch route.Via {
	case mx.ViaNone, mx.ViaMX:
		return route.Secure
	case mx.ViaSmartHost, mx.ViaFallback:
		// A smart host found in DNS does not go by its own name, unless DNSSEC vouches.
		return len(host.Identities) == 0 || slices.Contains(host.Identities, host.Name)
	default:
		return true
	}
}

// find is Find.
func (f *search) find() {
	p := &f.policy
	if strings.HasPrefix(f.host.Name, "[") {
		f.none(NoName)
		return
	}
	if !p.DomainSecure && (f.Mandatory || !f.InsecureMX) {
		f.none(InsecureMX)
		return
	}
	bases, ok := f.bases()
	if !ok {
		return
	}
	insecure := false
	for _, base := range bases {
		a, ok := f.ask("_"+strconv.Itoa(int(p.Port))+"._tcp."+base, mx.TypeTLSA)
		if !ok {
			return
		}
		if p.TTL == 0 || a.TTL < p.TTL {
			p.TTL = a.TTL
		}
		if a.Status != mx.Success || !a.Secure {
			insecure = insecure || a.Status == mx.Success
			continue
		}
		p.Base = base
		p.Unreadable = a.Unreadable
		p.Records = judged(a.TLSA, f.digests())
		p.Names = f.names(base)
		p.Outcome, p.Reason = Unusable, NoneUsable
		if slices.ContainsFunc(p.Records, func(r Record) bool { return r.Fate == Counts }) {
			p.Outcome, p.Reason = Usable, NoReason
		}
		return
	}
	if insecure {
		f.none(InsecureRecords)
	} else {
		f.none(NoRecords)
	}
}

// bases are the names where TLSA records may be, in order (RFC 7672 section 2.2.2); not
// ok if that is decided without.
func (f *search) bases() (bases []string, ok bool) {
	name, target := f.host.Name, f.host.Target
	addresses, first := f.host.Secure, f.host.NameSecure
	if addresses == mx.SecurityUnknown {
		// The route does not come from a Router.
		var a mx.Answer
		if a, ok = f.addresses(name); !ok {
			return nil, false
		}
		target, addresses = a.Name, mx.Insecure
		if a.Secure {
			addresses = mx.Secure
		}
	}
	if target == "" {
		target = name
	}
	switch {
	case addresses == mx.Secure && target != name:
		return []string{target, name}, true
	case addresses == mx.Secure:
		return []string{name}, true
	case target == name:
		f.none(InsecureAddress)
		return nil, false
	}
	if first == mx.SecurityUnknown {
		a, ok := f.ask(name, mx.TypeCNAME)
		if !ok {
			return nil, false
		}
		first = mx.Insecure
		if a.Secure {
			first = mx.Secure
		}
	}
	if first != mx.Secure {
		f.none(InsecureAlias)
		return nil, false
	}
	return []string{name}, true
}

// addresses asks for the addresses of a host. Either family will do; both must be secure
// if both have any.
func (f *search) addresses(name string) (all mx.Answer, ok bool) {
	all = mx.Answer{Status: mx.NoData, Name: name, Secure: true}
	var failed error
	for _, t := range []mx.Type{mx.TypeA, mx.TypeAAAA} {
		a, err := f.follow(name, t)
		switch {
		case err != nil:
			failed = err
		case a.Status == mx.Success:
			a.Secure = a.Secure && all.Secure
			all = a
		}
	}
	if all.Status != mx.Success && failed != nil {
		f.fail(LookupFailed, failed)
		return all, false
	}
	all.Secure = all.Secure && all.Status == mx.Success
	return all, true
}

// ask asks a question whose answer the policy requires.
func (f *search) ask(name string, t mx.Type) (a mx.Answer, ok bool) {
	a, err := f.follow(name, t)
	if err != nil {
		f.fail(LookupFailed, err)
		return a, false
	}
	return a, true
}

// follow asks a question and notes the step.
func (f *search) follow(name string, t mx.Type) (mx.Answer, error) {
	a, err := mx.Follow(f.ctx, f.Resolver, name, t)
	step := Step{Name: name, Type: t.String(), Status: "none"}
	switch {
	case err != nil:
		step.Status = err.Error()
		if re, ok := errors.AsType[*mx.ResolveError](err); ok {
			step.Status = re.Kind.String()
		}
	case a.Status == mx.Success:
		step.Status = "records"
	}
	if err == nil {
		step.Security = mx.Insecure
		if a.Secure {
			step.Security = mx.Secure
		}
		for _, alias := range a.Aliases {
			step.Aliases = append(step.Aliases, alias.To)
		}
	}
	f.policy.Steps = append(f.policy.Steps, step)
	return a, err
}

// names returns the names of which a certificate must have one for usage DANE-TA (RFC
// 7672 section 3.2.2).
func (f *search) names(base string) (names []string) {
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if add(base); !f.policy.DomainSecure {
		return names
	}
	switch f.route.Via {
	case mx.ViaNone, mx.ViaMX:
		add(f.route.Domain)
		if n := len(f.route.Aliases); n > 0 {
			add(f.route.Aliases[n-1].To)
		}
	case mx.ViaImplicit:
		add(f.route.Domain)
	case mx.ViaSmartHost, mx.ViaFallback:
		add(f.host.Name)
		for _, name := range f.host.Identities {
			if !strings.HasPrefix(name, "_") {
				add(name)
			}
		}
	}
	return names
}

// none is the policy of a host without records that count.
func (f *search) none(why Reason) { f.policy.Outcome, f.policy.Reason = None, why }

// fail is the policy of a host that is left alone for now.
func (f *search) fail(why Reason, err error) {
	f.policy.Outcome, f.policy.Reason, f.policy.Cause = Failed, why, err
}
