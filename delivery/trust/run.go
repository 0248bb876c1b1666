package trust

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/internal/age"
)

// RunTLS implements delivery.PolicyRunner. It checks whether the resolver validates
// DNSSEC, and then renews policies before they expire, until ctx ends. An Agent calls
// it; a program with only a Sender may call it as well.
func (s *Source) RunTLS(ctx context.Context, notice func(*delivery.TLSNotice)) error {
	s.prepare()
	if s.broken != nil {
		return s.broken
	}
	if notice != nil {
		s.notices.Store(&notice)
		defer s.notices.CompareAndSwap(&notice, nil)
	}
	if s.dane != nil {
		s.probe(ctx)
	}
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.forgetProofs(ctx) })
	if s.sts == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.sts.Run(ctx)
}

// Probe checks whether the resolver validates DNSSEC, which DANE needs. The error is
// dane.ErrNoDNSSEC if it does not, and another one if there was no answer. It is nil if
// DANE is off.
func (s *Source) Probe(ctx context.Context) error {
	s.prepare()
	if s.broken != nil || s.dane == nil {
		return s.broken
	}
	return dane.Probe(ctx, s.dane.Resolver)
}

func (s *Source) probe(ctx context.Context) {
	err := s.Probe(ctx)
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, dane.ErrNoDNSSEC):
		s.tell(&delivery.TLSNotice{Reason: "dane-off", Text: "DANE is off", Err: err})
	default:
		s.tell(&delivery.TLSNotice{Reason: "dane-unknown", Text: "it is not known whether the resolver can do DNSSEC", Err: err})
	}
}

// tell gives notice.
func (s *Source) tell(n *delivery.TLSNotice) {
	if s.Notice != nil {
		s.Notice(n)
	}
	if notice := s.notices.Load(); notice != nil {
		(*notice)(n)
	}
}

// nagEvery is how often there is notice of a store that does not work.
const nagEvery = time.Hour

// nagging has when notice of stores was last given, by reason and subject. Its zero value
// is ready.
type nagging struct {
	mu   sync.Mutex
	last map[[2]string]time.Time
}

// tellHourly gives notice of something that may come up with each message, once an hour
// for each subject.
func (s *Source) tellHourly(about string, n *delivery.TLSNotice) {
	g, now := &s.nagging, time.Now()
	key := [2]string{n.Reason, about}
	g.mu.Lock()
	at, told := g.last[key]
	if told = told && age.Between(at, now) < nagEvery; !told {
		if g.last == nil || len(g.last) >= defaultProofs {
			g.last = make(map[[2]string]time.Time)
		}
		g.last[key] = now
	}
	g.mu.Unlock()
	if !told {
		s.tell(n)
	}
}

// policiesFailed gives notice that the store of policies does not work, or that the policies
// in it of one domain, or of some, cannot be read.
func (s *Source) policiesFailed(domain string, err error) {
	text, about := "the store of MTA-STS policies does not work; while it cannot be read, mail waits to domains for which DNS shows no policy", ""
	switch damaged := errors.Is(err, mtasts.ErrDamaged); {
	case damaged && domain != "":
		text, about = "mail to "+domain+" waits, unless its MTA-STS policy can be fetched again", domain
	case damaged:
		text, about = "mail to domains whose stored MTA-STS policies cannot be read waits, unless these can be fetched again", "?" // no domain
	}
	s.tellHourly(about, &delivery.TLSNotice{Domain: domain, Reason: "policy-store", Text: text, Err: err})
}

// trace returns hooks that give notice of events of MTA-STS.
func (s *Source) trace() *mtasts.Trace {
	return &mtasts.Trace{
		StoreFailed: func(domain string, err error) {
			s.policiesFailed(domain, err)
		},
		NotRefreshed: func(e mtasts.Entry, _ int, err error) {
			s.tell(&delivery.TLSNotice{
				Domain: e.Domain, Reason: "policy-refresh", Err: err,
				Text: "the MTA-STS policy of " + e.Domain + " cannot be fetched again, and expires " + e.Expires().UTC().Format("2006-01-02 15:04"),
			})
		},
	}
}

// RefreshTLS implements delivery.PolicyRefresher. Before mail fails permanently because
// of an MTA-STS policy, it fetches the policy again (RFC 8461 section 5.1). TLSA
// records are looked up at each attempt anyway.
func (s *Source) RefreshTLS(ctx context.Context, d *delivery.Decision) (changed bool) {
	s.prepare()
	e, ok := d.Evidence.(*Evidence)
	if !ok || s.sts == nil || d.Source != "mta-sts" || e.MTASTS == nil {
		return false
	}
	before := e.MTASTS.Found
	after := s.sts.Recheck(ctx, before.Domain)
	if before.Policy == nil || after.Policy == nil {
		return before.Policy != after.Policy
	}
	return before.Policy.Mode != after.Policy.Mode || !slices.Equal(before.Policy.MX, after.Policy.MX)
}
