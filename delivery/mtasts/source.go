package mtasts

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/mx"
)

// Source finds the policies of domains. Set the fields and leave them alone after the
// first use; then it is safe for concurrent use. It must not be copied.
type Source struct {
	// Resolver is asked for TXT records; required. With a cache (mx.Cache), not every
	// message causes a question.
	Resolver mx.Resolver

	// Store keeps the policies. Default: a Memory of the Source's own. What it cannot
	// store for now is kept in memory, and stored by Run later.
	Store Store

	// Fetcher gets policies. Default: one with the Resolver.
	Fetcher *Fetcher

	// Trace has hooks. It may be nil.
	Trace *Trace

	once    sync.Once
	own     Memory // the Store if there is none, else what it could not store
	fetcher *Fetcher
	flights singleflight.Group
	mu      sync.Mutex
	failed  map[string]failure // by domain
}

// Trace has hooks for events that operators should know about. Each may be nil. They
// are called on the goroutine that detects the event, and must return soon.
type Trace struct {
	// Fetched is called after a fetch: with the entry that is now stored, or with an
	// error and the entry that stays in force, if there is one.
	Fetched func(domain string, e Entry, err error)

	// StoreFailed is called whenever the Store returns an error, which can be for each
	// message. domain is empty if the error is not about one domain.
	StoreFailed func(domain string, err error)

	// NotRefreshed is called when a policy in force could not be renewed several times
	// in a row. When it expires, mail to its domain is no longer protected by it. The
	// hook is not called for policies of mode none.
	NotRefreshed func(e Entry, failures int, err error)
}

func (t *Trace) fetched(domain string, e Entry, err error) {
	if t != nil && t.Fetched != nil {
		t.Fetched(domain, e, err)
	}
}

func (t *Trace) storeFailed(domain string, err error) {
	if t != nil && t.StoreFailed != nil {
		t.StoreFailed(domain, err)
	}
}

func (t *Trace) notRefreshed(e Entry, failures int, err error) {
	if t != nil && t.NotRefreshed != nil {
		t.NotRefreshed(e, failures, err)
	}
}

// holdOff is the time after a failed fetch during which the same id is not fetched
// again (RFC 8461 section 3.3). usedEvery is the precision of Entry.Used.
const (
	holdOff    = 5 * time.Minute
	usedEvery  = time.Hour
	mostFailed = 65536
	aheadFor   = time.Hour // the clocks of agents that share a store may differ by so much
)

// failure is a fetch that failed.
type failure struct {
	id    string
	at    time.Time
	times int // in a row
	err   error
}

// Validate reports invalid fields, or nil if there are none.
func (s *Source) Validate() error {
	if s.Resolver == nil {
		return errors.New("mtasts.Source.Resolver: it is required")
	}
	if d, ok := s.Store.(*Dir); ok && d.Path == "" {
		return errNoDir
	}
	return nil
}

// init sets the defaults.
func (s *Source) init() {
	s.once.Do(func() {
		if s.fetcher = s.Fetcher; s.fetcher == nil {
			s.fetcher = &Fetcher{Resolver: s.Resolver}
		}
		s.failed = make(map[string]failure)
	})
}

func (s *Source) store() Store {
	if s.Store == nil {
		return &s.own
	}
	return s.Store
}

// Find finds the policy of a domain, in the steps listed in the package comment. domain
// is a mail domain in any spelling: the one that mail is sent to, or that of a smart
// host. An address literal has no policy.
func (s *Source) Find(ctx context.Context, domain string) Found {
	return s.find(ctx, domain, false)
}

// Recheck is like Find, for use before mail fails permanently because of a policy. It
// fetches the policy again even if the id is unchanged, unless that was done a moment
// ago (RFC 8461 section 5.1).
func (s *Source) Recheck(ctx context.Context, domain string) Found {
	return s.find(ctx, domain, true)
}

func (s *Source) find(ctx context.Context, domain string, again bool) Found {
	s.init()
	found := Found{Domain: domain}
	parsed, err := address.ParseDomain(domain)
	if _, literal := parsed.Literal(); err != nil || literal {
		found.Record = "not a domain name"
		return found
	}
	if err := s.Validate(); err != nil {
		found.Record = err.Error()
		return found
	}
	found.Domain = parsed.String()
	id, live := s.record(ctx, &found)
	stored, unread := s.load(ctx, found.Domain)
	now := time.Now()
	held := stored.valid(now)
	switch {
	case !live && errors.Is(unread, ErrDamaged):
		// There was a policy, and it may be there still.
		s.renew(ctx, &found, &stored, id, again)
	case !live && held && !again:
		found.use(&stored, Cached)
	case live && held && stored.ID == id && !again:
		found.use(&stored, Live)
	case !live && !held:
		// No policy is in force, and DNS does not say that there is one.
	default:
		s.renew(ctx, &found, &stored, id, again)
	}
	if found.Policy == nil {
		found.Unread = unread
	}
	if found.Applies() && found.Origin != Fetched && now.Sub(stored.Used) >= usedEvery {
		s.noteUse(ctx, stored.Domain)
	}
	return found
}

// noteUse stores that mail goes by a domain's policy: the one that is stored by now.
func (s *Source) noteUse(ctx context.Context, domain string) {
	if e, _ := s.load(ctx, domain); e.Domain != "" {
		e.Used = time.Now()
		s.save(ctx, e)
	}
}

// record looks at the TXT record.
func (s *Source) record(ctx context.Context, found *Found) (id string, live bool) {
	a, err := mx.Follow(ctx, s.Resolver, "_mta-sts."+found.Domain, mx.TypeTXT)
	if err != nil {
		// Whether there is a policy is not known, and mail does not wait for that.
		found.Unknown = err
		found.Record = err.Error()
		return "", false
	}
	id, live, why := ParseRecord(a.TXT)
	if found.Record = "id " + id; !live {
		found.Record = why
	}
	return id, live
}

// load returns the stored entry, or that in memory if the store could not take it. If the store
// cannot be read, one that has expired does not count: other agents may have stored another
// one since. The error says why it is not known whether there is one.
func (s *Source) load(ctx context.Context, domain string) (Entry, error) {
	e, err := s.store().Load(ctx, domain)
	if err != nil && ctx.Err() == nil {
		s.Trace.storeFailed(domain, err)
	}
	if s.Store == nil {
		return e, err
	}
	kept, _ := s.own.Load(ctx, domain) // a Memory returns no error
	now := time.Now()
	switch {
	case err != nil && kept.valid(now), err == nil && kept.Domain != "" && (kept.Fetched.After(e.Fetched) || e.ahead(now)):
		e, err = kept, nil
	}
	if err != nil {
		return Entry{}, err
	}
	s.correct(ctx, &e, now)
	return e, nil
}

// correct has a policy count from now that was fetched in the future: it was stored while
// a clock was ahead, and would be in force, and not be renewed, until long after its time.
func (s *Source) correct(ctx context.Context, e *Entry, now time.Time) {
	if e.ahead(now) {
		e.Fetched = now
		if e.Used.After(now) {
			e.Used = now
		}
		s.save(ctx, *e)
	}
}

// save stores an entry. If that fails, it is kept in memory.
func (s *Source) save(ctx context.Context, e Entry) {
	if s.Store == nil {
		_ = s.own.Save(ctx, e) // a Memory returns no error
		return
	}
	// The policy is stored even if the caller's context has ended.
	if err := s.Store.Save(context.WithoutCancel(ctx), e); err != nil {
		_ = s.own.Save(ctx, e)
		s.Trace.storeFailed(e.Domain, err)
		return
	}
	_ = s.own.Delete(ctx, e.Domain)
}

// saveKept stores what the store could not take before.
func (s *Source) saveKept(ctx context.Context) {
	if s.Store == nil {
		return
	}
	all, _ := s.own.List(ctx, "", defaultEntries)
	for _, e := range all {
		stored, err := s.Store.Load(ctx, e.Domain)
		switch {
		case ctx.Err() != nil:
			return
		case !e.valid(time.Now()), err == nil && stored.Fetched.After(e.Fetched):
			_ = s.own.Delete(ctx, e.Domain)
		default:
			s.save(ctx, e)
		}
	}
}

// renew fetches a policy, and falls back on the one that is stored.
func (s *Source) renew(ctx context.Context, found *Found, stored *Entry, id string, again bool) {
	fresh, err := s.fetch(ctx, found.Domain, id, again)
	now := time.Now()
	switch {
	case err == nil:
		found.use(&fresh, Fetched)
		return
	case stored.valid(now):
		found.use(stored, Kept)
	}
	if ctx.Err() == nil {
		found.Err = err
	}
}
