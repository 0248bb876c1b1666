package mx

import (
	"context"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
)

// Cache is a Resolver that keeps the answers of another for their TTL. An answer from the
// cache has the TTL that is left. Callers that ask the same at the same time share one
// question; if the context of one of them ends, the others still get the answer.
//
//   - An answer with TTL 0 goes to the callers that wait for it, and is then forgotten
//     (RFC 2181 section 8).
//   - Time for which the machine sleeps counts. An answer is dropped when its TTL has
//     passed by the monotonic clock or by the wall clock, whichever comes first.
//   - "The name does not exist" is kept for all types, "no records" for its type alone
//     (RFC 2308 section 5). Some servers deny a name because they do not know the type
//     (RFC 4074 section 4.2). If the cache has a record of another type, the denial counts
//     for its type alone.
//   - A failure is kept for its name and type alone, for FailureTTL (RFC 2308 section 7).
//
// Set the fields before the first use and do not change them afterwards; then it is safe
// for concurrent use. It must not be copied. No goroutine runs after the calls have
// returned.
type Cache struct {
	// Resolver is asked for answers that are not in the cache. Required.
	Resolver Resolver

	// MaxEntries bounds the number of answers kept. Default: 65,536. A large answer counts
	// as one for every 1,024 bytes, so this bounds the memory, too. The least recently
	// used answer is dropped first.
	MaxEntries int

	// MaxTTL bounds how long an answer is kept, even if its TTL is longer. Default: 24 h.
	MaxTTL time.Duration

	// MaxNegativeTTL bounds how long a negative answer is kept. Default: 3 h. More than 24
	// h counts as 24 h (RFC 2308 section 5).
	MaxNegativeTTL time.Duration

	// FailureTTL is how long a failed question is not asked again. Default: 1 s (RFC 9520
	// section 3.2). More than 5 minutes counts as 5 minutes (RFC 2308 section 7). If
	// negative, failures are not remembered.
	FailureTTL time.Duration

	mu      sync.Mutex
	flights map[key]*flight // the questions that are being asked
	known   entries
	cleared int // how often it was

	now func() time.Time // nil is time.Now
}

// Clear forgets all answers. Answers to questions that are under way are not kept, either.
// Call it when the Resolver changes to other DNS servers, which may answer differently,
// such as those of another network.
func (c *Cache) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = entries{}
	c.cleared++
}

// The defaults and bounds of a Cache.
const (
	defaultEntries     = 65536
	entryBytes         = 1024
	defaultTTL         = 24 * time.Hour
	defaultNegativeTTL = 3 * time.Hour
	mostNegativeTTL    = 24 * time.Hour
	defaultFailureTTL  = time.Second
	mostFailureTTL     = 5 * time.Minute
)

// anyType is the type of the entry that says that a name does not exist; no
// record has it (RFC 6895 section 3.1).
const anyType Type = 0

// flight is one question that several may wait for.
type flight struct {
	done   chan struct{} // closed when there is an outcome
	answer Answer
	err    error
	// left is whether the one who asked went away without an outcome for the others: its
	// context ended first.
	left bool
}

// Resolve returns the answer in the cache or asks the Resolver. The error is always a
// *ResolveError: the Resolver's own, or one about an answer that breaks the rules of
// Resolver.
func (c *Cache) Resolve(ctx context.Context, name string, t Type) (Answer, error) {
	if a, left, err := c.peek(name, t, c.time()); err != nil {
		return Answer{}, err
	} else if a != nil {
		return with(a, left), nil
	}
	for {
		a, left, err := c.join(ctx, name, t)
		if left && ended(ctx) == nil {
			continue
		}
		return a, err
	}
}

// join asks, or waits for a caller that already does.
func (c *Cache) join(ctx context.Context, name string, t Type) (a Answer, left bool, err error) {
	if ctx.Err() != nil {
		return Answer{}, false, canceled(ctx, name, t)
	}
	k := key{name, t}
	c.mu.Lock()
	f := c.flights[k]
	if f != nil {
		c.mu.Unlock()
		select {
		case <-f.done:
			return f.answer, f.left, f.err
		case <-ctx.Done():
			return Answer{}, false, canceled(ctx, name, t)
		}
	}
	f = &flight{done: make(chan struct{}), left: true} // unless ask returns
	if c.flights == nil {
		c.flights = make(map[key]*flight)
	}
	c.flights[k] = f
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.flights, k)
		close(f.done)
	}()
	f.answer, f.left, f.err = c.ask(ctx, name, t)
	return f.answer, f.left, f.err
}

func canceled(ctx context.Context, name string, t Type) error {
	return &ResolveError{Name: name, Type: t, Kind: Canceled, Err: ctx.Err()}
}

// ask asks the Resolver and keeps the answer. left is if the context ended first.
func (c *Cache) ask(ctx context.Context, name string, t Type) (a Answer, left bool, err error) {
	if known, ttl, err := c.peek(name, t, c.time()); err != nil {
		return Answer{}, false, err // answered since we looked
	} else if known != nil {
		return with(known, ttl), false, nil
	}
	c.mu.Lock()
	cleared := c.cleared
	c.mu.Unlock()
	a, err = ask(ctx, c.Resolver, name, t)
	if err != nil && ended(ctx) != nil {
		return Answer{}, true, err
	}
	c.keep(name, t, &a, err, cleared)
	return a, false, err
}

// keep stores an outcome for as long as it may be used, unless the cache was cleared
// since the question was asked.
func (c *Cache) keep(name string, t Type, a *Answer, err error, cleared int) {
	k := key{name, t}
	var ttl time.Duration
	switch {
	case err != nil:
		ttl = min(orDefault(c.FailureTTL, defaultFailureTTL), mostFailureTTL)
	case a.Status == Success || a.Status == Aliased:
		ttl = min(a.TTL, orDefault(c.MaxTTL, defaultTTL))
	default:
		ttl = min(a.TTL, orDefault(c.MaxNegativeTTL, defaultNegativeTTL), mostNegativeTTL, orDefault(c.MaxTTL, defaultTTL))
		if a.Status == NXDomain && len(a.Aliases) == 0 {
			k.t = anyType // unless the name is known to exist: reconcile
		}
	}
	if ttl <= 0 {
		return
	}
	a.TTL = ttl
	e := &entry{key: k, asked: t, answer: *a, err: err, expires: c.time().Add(ttl), cost: cost(name, a)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if cleared != c.cleared {
		return
	}
	c.known.reconcile(e)
	c.known.put(e, orDefault(c.MaxEntries, defaultEntries))
}

func (c *Cache) time() time.Time {
	if c.now != nil {
		return c.now()
	}
	return time.Now()
}

// peek returns what is known without asking: an answer and its remaining TTL, a
// failure, or neither. The answer is shared and must not be changed.
func (c *Cache) peek(name string, t Type, now time.Time) (*Answer, time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.known.get(key{name, t}, now)
	if e == nil {
		e = c.known.get(key{name, anyType}, now)
	}
	switch {
	case e == nil:
		return nil, 0, nil
	case e.err != nil:
		return nil, 0, e.err
	}
	return &e.answer, age.Left(e.expires, now), nil
}

// with is an answer with the TTL it has left.
func with(a *Answer, left time.Duration) Answer {
	b := *a
	b.TTL = left
	return b
}

// orDefault is value, or otherwise if it is zero.
func orDefault[T int | time.Duration](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

// cost is how many entries an answer counts as.
func cost(name string, a *Answer) int {
	n := len(name) + len(a.Name) + 24*len(a.Addrs)
	for _, alias := range a.Aliases {
		n += len(alias.From) + len(alias.To) + 40
	}
	for _, m := range a.MX {
		n += len(m.Host) + 24
	}
	for _, ns := range a.NS {
		n += len(ns) + 16
	}
	for _, text := range a.TXT {
		n += len(text) + 16
	}
	for _, tlsa := range a.TLSA {
		n += len(tlsa.Data) + 32
	}
	for _, srv := range a.SRV {
		n += len(srv.Target) + 24
	}
	return 1 + n/entryBytes
}
