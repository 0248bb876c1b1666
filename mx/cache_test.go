package mx_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// resolverFunc is a Resolver made of a function.
type resolverFunc func(ctx context.Context, name string, t mx.Type) (mx.Answer, error)

func (f resolverFunc) Resolve(ctx context.Context, name string, t mx.Type) (mx.Answer, error) {
	return f(ctx, name, t)
}

// counter is a Resolver that counts the questions and answers by a function.
type counter struct {
	mu     sync.Mutex
	asked  int
	answer func(name string, t mx.Type) (mx.Answer, error)
}

func (c *counter) Resolve(_ context.Context, name string, t mx.Type) (mx.Answer, error) {
	c.mu.Lock()
	c.asked++
	c.mu.Unlock()
	return c.answer(name, t)
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func always(a mx.Answer) func(string, mx.Type) (mx.Answer, error) {
	return func(name string, _ mx.Type) (mx.Answer, error) {
		a.Name = name
		return a, nil
	}
}

func found(ttl time.Duration) mx.Answer {
	return mx.Answer{Status: mx.Success, TTL: ttl, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
}

// step is one question to a cache at a time, and whether it must reach the
// resolver behind it.
type step struct {
	at    time.Duration
	name  string
	t     mx.Type
	asks  bool
	wants time.Duration // the TTL of the answer, where not 0
}

func TestCacheTimes(t *testing.T) {
	const sec, min, hour = time.Second, time.Minute, time.Hour
	failure := func(name string, t mx.Type) (mx.Answer, error) {
		return mx.Answer{}, &mx.ResolveError{Name: name, Type: t, Kind: mx.ServFail}
	}
	tests := []struct {
		name   string
		cache  *mx.Cache
		answer func(string, mx.Type) (mx.Answer, error)
		steps  []step
	}{
		{"MX-33 an answer lives as long as its TTL", &mx.Cache{}, always(found(60 * sec)), []step{
			{0, "e.test", mx.TypeA, true, 60 * sec},
			{59 * sec, "e.test", mx.TypeA, false, sec},
			{60 * sec, "e.test", mx.TypeA, true, 60 * sec},
			{61 * sec, "e.test", mx.TypeA, false, 59 * sec},
		}},
		{"MX-33 TTL 0 is used once", &mx.Cache{}, always(found(0)), []step{
			{0, "e.test", mx.TypeA, true, 0}, {0, "e.test", mx.TypeA, true, 0},
		}},
		{"MX-33 the sign bit makes it 0", &mx.Cache{}, always(found((1<<31 + 1) * sec)), []step{
			{0, "e.test", mx.TypeA, true, 0}, {0, "e.test", mx.TypeA, true, 0},
		}},
		{"MX-33 a cap is honoured", &mx.Cache{MaxTTL: hour}, always(found(48 * hour)), []step{
			{0, "e.test", mx.TypeA, true, hour},
			{hour - 1, "e.test", mx.TypeA, false, 1},
			{hour, "e.test", mx.TypeA, true, hour},
		}},
		{"MX-33 the cap is a day where none is given", &mx.Cache{}, always(found(48 * hour)), []step{
			{0, "e.test", mx.TypeA, true, 24 * hour},
			{24*hour - 1, "e.test", mx.TypeA, false, 1},
			{24 * hour, "e.test", mx.TypeA, true, 0},
		}},
		{"MX-34 no data is about one type", &mx.Cache{}, always(mx.Answer{Status: mx.NoData, TTL: min}), []step{
			{0, "e.test", mx.TypeAAAA, true, min},
			{59 * sec, "e.test", mx.TypeAAAA, false, sec},
			{59 * sec, "e.test", mx.TypeA, true, min},
			{60 * sec, "e.test", mx.TypeAAAA, true, 0},
		}},
		{"MX-34 no such name is about all types", &mx.Cache{}, always(mx.Answer{Status: mx.NXDomain, TTL: min}), []step{
			{0, "e.test", mx.TypeMX, true, min},
			{59 * sec, "e.test", mx.TypeA, false, sec},
			{59 * sec, "sub.e.test", mx.TypeA, true, 0},
			{60 * sec, "e.test", mx.TypeA, true, 0},
		}},
		{"MX-34 no such name behind an alias is about one type", &mx.Cache{}, always(mx.Answer{
			Status: mx.NXDomain, TTL: min, Aliases: []mx.Alias{{From: "e.test", To: "f.test"}},
		}), []step{
			{0, "e.test", mx.TypeMX, true, min},
			{0, "e.test", mx.TypeMX, false, min},
			{0, "e.test", mx.TypeCNAME, true, 0},
		}},
		{"MX-34 without SOA an absence is not kept", &mx.Cache{}, always(mx.Answer{Status: mx.NXDomain}), []step{
			{0, "e.test", mx.TypeMX, true, 0}, {0, "e.test", mx.TypeMX, true, 0},
		}},
		{"MX-34 an absence is kept three hours at most", &mx.Cache{}, always(mx.Answer{Status: mx.NXDomain, TTL: 24 * hour}), []step{
			{0, "e.test", mx.TypeMX, true, 3 * hour},
			{3*hour - 1, "e.test", mx.TypeMX, false, 1},
			{3 * hour, "e.test", mx.TypeMX, true, 0},
		}},
		{"MX-34 and never over a day", &mx.Cache{MaxNegativeTTL: 100 * hour, MaxTTL: 100 * hour}, always(mx.Answer{Status: mx.NoData, TTL: 90 * hour}), []step{
			{0, "e.test", mx.TypeMX, true, 24 * hour}, {24 * hour, "e.test", mx.TypeMX, true, 0},
		}},
		{"MX-34 a failure is kept five minutes at most, for its type alone", &mx.Cache{FailureTTL: hour}, failure, []step{
			{0, "e.test", mx.TypeMX, true, 0},
			{4 * min, "e.test", mx.TypeMX, false, 0},
			{4 * min, "e.test", mx.TypeA, true, 0},
			{5*min + sec, "e.test", mx.TypeMX, true, 0},
		}},
		{"MX-34 a failure is kept a second where nothing is said", &mx.Cache{}, failure, []step{
			{0, "e.test", mx.TypeMX, true, 0}, {sec - 1, "e.test", mx.TypeMX, false, 0}, {sec, "e.test", mx.TypeMX, true, 0},
		}},
		{"a failure is not kept where so told", &mx.Cache{FailureTTL: -1}, failure, []step{
			{0, "e.test", mx.TypeMX, true, 0}, {0, "e.test", mx.TypeMX, true, 0},
		}},
		{"an alias is kept", &mx.Cache{}, func(name string, _ mx.Type) (mx.Answer, error) {
			return mx.Answer{Status: mx.Aliased, Name: "f.test", TTL: min, Aliases: []mx.Alias{{From: name, To: "f.test"}}}, nil
		}, []step{
			{0, "e.test", mx.TypeMX, true, min}, {sec, "e.test", mx.TypeMX, false, 59 * sec},
		}},
		{"the adapter's not found has no TTL and is not kept", &mx.Cache{}, always(mx.Answer{Status: mx.NotFound}), []step{
			{0, "e.test", mx.TypeMX, true, 0}, {0, "e.test", mx.TypeMX, true, 0},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				behind := &counter{answer: test.answer}
				test.cache.Resolver = behind
				start := time.Now()
				for i, s := range test.steps {
					time.Sleep(s.at - time.Since(start))
					before := behind.count()
					a, _ := test.cache.Resolve(t.Context(), s.name, s.t)
					if asked := behind.count() > before; asked != s.asks {
						t.Errorf("step %d, %v %s after %v: asked %v, want %v", i, s.t, s.name, s.at, asked, s.asks)
					}
					if s.wants != 0 && a.TTL != s.wants {
						t.Errorf("step %d: TTL is %v, want %v", i, a.TTL, s.wants)
					}
				}
			})
		})
	}
}

func TestCacheKeepsWhatIsUsed(t *testing.T) {
	behind := &counter{answer: always(found(time.Hour))}
	c := &mx.Cache{Resolver: behind, MaxEntries: 3}
	asks := func(name string) bool {
		t.Helper()
		before := behind.count()
		if _, err := c.Resolve(t.Context(), name, mx.TypeA); err != nil {
			t.Fatal(err)
		}
		return behind.count() > before
	}
	for _, name := range []string{"a.test", "b.test", "c.test", "a.test", "d.test"} {
		asks(name)
	}
	// b is the one that was not used for the longest time.
	for _, name := range []string{"a.test", "c.test", "d.test"} {
		if asks(name) {
			t.Errorf("%s was forgotten", name)
		}
	}
	if !asks("b.test") {
		t.Error("b.test was kept beyond the bound")
	}
}

// TestCacheClear: what is known is forgotten, and so is what a question brings that was
// asked before.
func TestCacheClear(t *testing.T) {
	c := &counter{answer: always(found(time.Hour))}
	cache := &mx.Cache{Resolver: c}
	ask := func(want int) {
		t.Helper()
		if _, err := cache.Resolve(t.Context(), "e.test", mx.TypeA); err != nil || c.count() != want {
			t.Errorf("asked %d times, want %d; %v", c.count(), want, err)
		}
	}
	ask(1)
	ask(1)
	cache.Clear()
	ask(2)
	ask(2)
	cache.Clear()
	c.answer = func(name string, typ mx.Type) (mx.Answer, error) {
		cache.Clear()
		return always(found(time.Hour))(name, typ)
	}
	ask(3)
	ask(4)
}

func TestCacheCountsLargeAnswers(t *testing.T) {
	large := found(time.Hour)
	for i := range 5000 {
		large.Addrs = append(large.Addrs, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	behind := &counter{answer: func(name string, _ mx.Type) (mx.Answer, error) {
		if name == "large.test" || name == "large2.test" {
			return large, nil
		}
		return found(time.Hour), nil
	}}
	c := &mx.Cache{Resolver: behind, MaxEntries: 200}
	asks := func(name string) bool {
		before := behind.count()
		_, _ = c.Resolve(t.Context(), name, mx.TypeA)
		return behind.count() > before
	}
	asks("large.test")
	asks("large2.test") // together they are more than 200 KiB
	if !asks("large.test") {
		t.Error("two large answers were kept where one fits")
	}
	for i := range 200 {
		asks(fmt.Sprintf("n%d.test", i))
	}
	if !asks("large.test") {
		t.Error("a large answer outlived 200 younger ones")
	}
	tiny := &mx.Cache{Resolver: behind, MaxEntries: 10}
	_, _ = tiny.Resolve(t.Context(), "small.test", mx.TypeA)
	if a, err := tiny.Resolve(t.Context(), "large.test", mx.TypeA); err != nil || len(a.Addrs) != 5001 {
		t.Errorf("an answer too large to keep is %d addresses, %v", len(a.Addrs), err)
	}
	before := behind.count()
	if _, _ = tiny.Resolve(t.Context(), "small.test", mx.TypeA); behind.count() > before {
		t.Error("an answer too large to keep drove out another")
	}
}

// gate is a Resolver that holds questions until it is opened or their context
// ends.
type gate struct {
	counter
	open chan struct{}
}

func (g *gate) Resolve(ctx context.Context, name string, t mx.Type) (mx.Answer, error) {
	a, err := g.counter.Resolve(ctx, name, t)
	select {
	case <-g.open:
		return a, err
	case <-ctx.Done():
		return mx.Answer{}, &mx.ResolveError{Name: name, Type: t, Kind: mx.Canceled, Err: ctx.Err()}
	}
}

// outcome is what one of several callers got.
type outcome struct {
	answer mx.Answer
	err    error
}

func TestCacheSingleFlight(t *testing.T) {
	ask := func(ctx context.Context, c *mx.Cache) <-chan outcome {
		done := make(chan outcome, 1)
		go func() {
			a, err := c.Resolve(ctx, "e.test", mx.TypeA)
			done <- outcome{a, err}
		}()
		synctest.Wait()
		return done
	}
	isFound := func(t *testing.T, who string, got outcome) {
		t.Helper()
		if got.err != nil || len(got.answer.Addrs) != 1 {
			t.Errorf("%s got %+v, %v; want the answer", who, got.answer, got.err)
		}
	}
	for _, ttl := range []time.Duration{0, time.Minute} {
		setup := func() (*gate, *mx.Cache) {
			g := &gate{counter{answer: always(found(ttl))}, make(chan struct{})}
			return g, &mx.Cache{Resolver: g}
		}
		t.Run(fmt.Sprintf("one question for many, TTL %v", ttl), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, c := setup()
				var waiting []<-chan outcome
				for range 50 {
					waiting = append(waiting, ask(t.Context(), c))
				}
				close(g.open)
				for _, w := range waiting {
					isFound(t, "a waiter", <-w)
				}
				if n := g.count(); n != 1 {
					t.Errorf("%d questions, want 1", n)
				}
			})
		})
		t.Run(fmt.Sprintf("a waiter that leaves takes nothing along, TTL %v", ttl), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, c := setup()
				first := ask(t.Context(), c)
				ctx, cancel := context.WithCancel(t.Context())
				leaver := ask(ctx, c)
				cancel()
				if got := <-leaver; !errors.Is(got.err, context.Canceled) {
					t.Errorf("the one who left got %v", got.err)
				}
				close(g.open)
				isFound(t, "who asked first", <-first)
				if n := g.count(); n != 1 {
					t.Errorf("%d questions, want 1", n)
				}
			})
		})
		t.Run(fmt.Sprintf("who asked first may leave the others, TTL %v", ttl), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, c := setup()
				ctx, cancel := context.WithCancel(t.Context())
				first := ask(ctx, c)
				second, third := ask(t.Context(), c), ask(t.Context(), c)
				cancel()
				if got := <-first; !errors.Is(got.err, context.Canceled) {
					t.Errorf("who asked first got %v", got.err)
				}
				synctest.Wait()
				close(g.open)
				isFound(t, "the second", <-second)
				isFound(t, "the third", <-third)
				if n := g.count(); n != 2 {
					t.Errorf("%d questions, want 2: the one that was left and one more", n)
				}
			})
		})
	}
	t.Run("who leaves a question that it asked waits for its end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ended := false
			c := &mx.Cache{Resolver: resolverFunc(func(ctx context.Context, _ string, _ mx.Type) (mx.Answer, error) {
				<-ctx.Done()
				time.Sleep(time.Second)
				ended = true
				return mx.Answer{}, ctx.Err()
			})}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := c.Resolve(ctx, "e.test", mx.TypeA)
			if wantFailure(t, err, mx.Canceled); !ended {
				t.Error("the question went on without its caller")
			}
		})
	})
	t.Run("a caller whose context has ended asks nothing", func(t *testing.T) {
		behind := &counter{answer: always(found(0))}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := (&mx.Cache{Resolver: behind}).Resolve(ctx, "e.test", mx.TypeA)
		if wantFailure(t, err, mx.Canceled); behind.count() != 0 {
			t.Error("asked")
		}
	})
}

func TestCacheIsSafeForConcurrentUse(t *testing.T) {
	behind := &counter{answer: func(name string, ty mx.Type) (mx.Answer, error) {
		a := found(time.Hour)
		a.Name = name
		return a, nil
	}}
	c := &mx.Cache{Resolver: behind, MaxEntries: 10}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				name := fmt.Sprintf("n%d.test", (i*7+g)%30)
				a, err := c.Resolve(t.Context(), name, mx.TypeA)
				if err != nil || a.Name != name {
					t.Errorf("asked for %s, got %s, %v", name, a.Name, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestCacheOfContradictions: a server that denies a name because it does not know a
// type (RFC 4074 section 4.2) does not hide the records of another.
func TestCacheOfContradictions(t *testing.T) {
	for name, order := range map[string][]mx.Type{
		"denied first": {mx.TypeAAAA, mx.TypeA}, "found first": {mx.TypeA, mx.TypeAAAA},
	} {
		t.Run("MX-34, MX-20 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dns := &mxtest.DNS{
					Zone:  "$ORIGIN e.test.\n@ 900 SOA ns root 1 2 3 4 900\nm 60 A 192.0.2.1\n",
					Rules: []mxtest.Rule{{Name: "m.e.test", Type: mx.TypeAAAA, Fault: mxtest.NXDomain}},
				}
				cache := &mx.Cache{Resolver: dns}
				late := mxtest.Rule{Name: "m.e.test", Type: order[1], Delay: time.Second}
				if order[1] == mx.TypeAAAA {
					late.Fault = mxtest.NXDomain
				}
				if err := dns.Set(late); err != nil {
					t.Fatal(err)
				}
				var wait sync.WaitGroup
				for _, typ := range []mx.Type{order[1], order[0]} { // both are asked before one has answered
					wait.Go(func() {
						if _, err := cache.Resolve(t.Context(), "m.e.test", typ); err != nil {
							t.Error(err)
						}
					})
					synctest.Wait()
				}
				wait.Wait()
				time.Sleep(2 * time.Minute) // past the TTL of the address
				a, err := cache.Resolve(t.Context(), "m.e.test", mx.TypeA)
				if err != nil || len(a.Addrs) != 1 {
					t.Errorf("answer is %+v, %v; want the address", a, err)
				}
				dns.Forget()
				if a, err := cache.Resolve(t.Context(), "m.e.test", mx.TypeAAAA); err != nil || a.Status != mx.NXDomain || len(dns.Queries()) != 0 {
					t.Errorf("answer is %+v, %v; want what is remembered of the other type", a, err)
				}
			})
		})
	}
}
