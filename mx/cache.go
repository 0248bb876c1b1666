package mx

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/nexthop-mail/nexthop/internal/age"
)

// Cache is a Resolver that remembers the answers of another as long as their TTL
// says, and no longer. A hit carries the TTL that is left. Any number of callers
// that ask the same at the same time cost one question; a caller whose context
// ends leaves the others their answer.
//
//   - TTL 0 answers those who were waiting for it, and is then forgotten
//     (RFC 2181 section 8).
//   - Time that the machine sleeps counts: an answer ends when its TTL has passed by
//     the monotonic clock or by the wall clock, whichever comes first.
//   - If a name does not exist, that is kept for all types; if it has no records of
//     a type, for that type alone (RFC 2308 section 5). Some servers deny a name
//     because they do not know a type (RFC 4074 section 4.2). A known record of
//     another type proves them wrong, and the denial then holds for its type alone.
//   - A failure is kept for its name and type alone, and briefly (RFC 2308
//     section 7).
//
// Set the fields before the first use and leave them alone afterwards; then it
// is safe for concurrent use. It must not be copied. It has no goroutine that
// outlives the calls.
type Cache struct {
	// Resolver is asked for what is not known; required.
	Resolver Resolver

	// MaxEntries bounds the answers kept. Default: 65,536. An answer counts once for
	// every 1,024 bytes of it, so that this bounds the memory too. The one that
	// was not used for the longest time goes first.
	MaxEntries int

	// MaxTTL bounds how long an answer is kept, whatever its TTL. Default: 24 h.
	MaxTTL time.Duration

	// MaxNegativeTTL bounds how long an absence is kept. Default: 3 h; more than
	// 24 h counts as 24 h (RFC 2308 section 5).
	MaxNegativeTTL time.Duration

	// FailureTTL is how long a failed question is not asked again. Default: 1 s
	// (RFC 9520 section 3.2). If negative, failures are not remembered; more than
	// 5 minutes counts as 5 minutes (RFC 2308 section 7).
	FailureTTL time.Duration

	flights singleflight.Group
	mu      sync.Mutex
	known   entries
	cleared int // how often it was

	now func() time.Time // nil is time.Now
}

// Clear forgets all answers, and does not keep those of questions that are under way.
// Call it when other DNS servers are asked from now on: they may know other things, as
// those of another network do.
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

// flight is the outcome of one question that several may wait for.
type flight struct {
	answer Answer
	// left is whether the context of the one who asked ended first. It is then
	// no outcome for the others.
	left bool
}

// Resolve answers from what is known, or asks. The error is always a
// *ResolveError: the Resolver's, or what is wrong with an answer of its that
// breaks the promises of a Resolver.
func (c *Cache) Resolve(ctx context.Context, name string, t Type) (Answer, error) {
	if a, left, err := c.peek(name, t, c.time()); err != nil {
		return Answer{}, err
	} else if a != nil {
		return with(a, left), nil
	}
	for {
		f, err := c.join(ctx, name, t)
		if f.left && ended(ctx) == nil {
			continue
		}
		return f.answer, err
	}
}

// join asks, or waits for whoever asks already.
func (c *Cache) join(ctx context.Context, name string, t Type) (flight, error) {
	if ctx.Err() != nil {
		return flight{}, canceled(ctx, name, t)
	}
	var asking atomic.Bool
	done := c.flights.DoChan(strconv.Itoa(int(t))+" "+name, func() (any, error) {
		asking.Store(true)
		return c.ask(ctx, name, t)
	})
	select {
	case r := <-done:
		return r.Val.(flight), r.Err
	case <-ctx.Done():
		if asking.Load() {
			<-done // the question ends with our context
		}
		return flight{}, canceled(ctx, name, t)
	}
}

func canceled(ctx context.Context, name string, t Type) error {
	return &ResolveError{Name: name, Type: t, Kind: Canceled, Err: ctx.Err()}
}

// ask asks the Resolver and keeps what it says.
func (c *Cache) ask(ctx context.Context, name string, t Type) (any, error) {
	if a, left, err := c.peek(name, t, c.time()); err != nil {
		return flight{}, err // answered since we looked
	} else if a != nil {
		return flight{answer: with(a, left)}, nil
	}
	c.mu.Lock()
	cleared := c.cleared
	c.mu.Unlock()
	a, err := ask(ctx, c.Resolver, name, t)
	if err != nil && ended(ctx) != nil {
		return flight{left: true}, err
	}
	c.keep(name, t, &a, err, cleared)
	return flight{answer: a}, err
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

// peek is what is known without asking: an answer and the TTL it has left, a
// failure, or neither. The answer is shared; nobody changes it.
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
