package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// A crowd is mail for hosts that do not take it, in the way of mail for one that
// does.

func long() bool { return os.Getenv("NEXTHOP_LONG") != "" }

// byDomain routes mail for good.test to one address and all other mail as other
// says.
type byDomain struct {
	good  netip.AddrPort
	other func(domain string) netip.AddrPort
}

func (r byDomain) Route(_ context.Context, _, domain string) (mx.Route, error) {
	name, addr := "mx."+domain, r.good
	if domain != "good.test" {
		addr = r.other(domain)
	}
	return mx.Route{Domain: domain, Hosts: []mx.Host{{
		Name: name, Target: name, Port: addr.Port(), Addrs: []netip.Addr{addr.Addr()}, TLS: mx.TLSNone,
	}}}, nil
}

// hostile serves connections with serve until the test ends.
func hostile(t *testing.T, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var sessions sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	sessions.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			sessions.Go(func() {
				serve(conn)
				conn.Close()
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		sessions.Wait()
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

// defers says 451 to every recipient.
func defers(conn net.Conn) {
	r := bufio.NewReader(conn)
	reply := "220 later.test\r\n"
	for {
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		reply = "250 ok\r\n"
		if strings.HasPrefix(line, "RCPT") {
			reply = "451 4.3.0 later\r\n"
		}
	}
}

// tarpit takes the connection and never says a word.
func tarpit(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// nobody is an address where connections are refused.
func nobody(*testing.T) netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:1") }

// office is an agent on a durable queue, and how much good mail it delivered.
type office struct {
	t         *testing.T
	spool     *disk.Spool
	agent     *delivery.Agent
	delivered atomic.Int64
	attempts  atomic.Int64
	arrived   chan struct{}
}

func newOffice(t *testing.T, r delivery.Router) *office {
	t.Helper()
	spool, err := disk.Open(t.TempDir(), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := &office{t: t, spool: spool, arrived: make(chan struct{}, 1)}
	o.agent = &delivery.Agent{
		Queue: spool, Sender: &delivery.Sender{Hello: "from.test", Router: r},
		Drain: time.Second, // a host that says nothing would take all of the default
		Events: func(_ context.Context, e delivery.Event) {
			switch e.Kind {
			case delivery.Delivered:
				o.delivered.Add(1)
				select {
				case o.arrived <- struct{}{}:
				default:
				}
			case delivery.Deferred:
				o.attempts.Add(1)
			}
		},
	}
	return o
}

// submit submits n messages, the i-th to a recipient at domain(i).
func (o *office) submit(n int, domain func(i int) string) {
	body := queue.String("From: a@from.test\r\nSubject: s\r\n\r\n" + strings.Repeat("x", 500) + "\r\n")
	var next atomic.Int64
	var submitters sync.WaitGroup
	for range 64 {
		submitters.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				m := &queue.Message{From: "a@from.test", Content: body, Recipients: []queue.Recipient{
					{Address: "u@" + domain(i)},
				}}
				if _, err := o.spool.Put(o.t.Context(), time.Now(), m); err != nil {
					o.t.Error(err)
					return
				}
			}
		})
	}
	submitters.Wait()
}

// run runs the agent while f does.
func (o *office) run(f func()) {
	o.t.Helper()
	ctx, cancel := context.WithCancel(o.t.Context())
	ended := make(chan error)
	go func() { ended <- o.agent.Run(ctx) }()
	f()
	cancel()
	if err := <-ended; err != nil {
		o.t.Error(err)
	}
	if err := o.spool.Close(); err != nil {
		o.t.Error(err)
	}
}

// good is how long n messages to good.test take from the first Submit to the last
// delivery.
func (o *office) good(n int) time.Duration {
	o.t.Helper()
	began := time.Now()
	body := queue.Bytes(content())
	var next atomic.Int64
	var submitters sync.WaitGroup
	for range 32 {
		submitters.Go(func() {
			for next.Add(1) <= int64(n) {
				m := &queue.Message{From: "a@from.test", Content: body, Recipients: []queue.Recipient{{Address: "u@good.test"}}}
				if _, err := o.agent.Submit(o.t.Context(), m); err != nil {
					o.t.Error(err)
					return
				}
			}
		})
	}
	submitters.Wait()
	for o.delivered.Load() < int64(n) {
		select {
		case <-o.arrived:
		case <-time.After(time.Minute):
			o.t.Fatalf("%d of %d delivered, and none for a minute", o.delivered.Load(), n)
		}
	}
	return time.Since(began)
}

// heap is how much memory is in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestCrowd: a destination with a great many messages whose host is dead, says
// nothing, or defers everything costs another destination neither time nor the
// agent memory.
func TestCrowd(t *testing.T) {
	backlog, good := 5_000, 3_000
	if long() {
		backlog, good = 100_000, 20_000
	}
	const memory = 16 << 20 // of the agent, whatever the backlog
	sink := otherProcess(t)
	for name, host := range map[string]func(*testing.T) netip.AddrPort{
		"a host that refuses connections": nobody,
		"a host that says nothing":        func(t *testing.T) netip.AddrPort { return hostile(t, tarpit) },
		"a host that defers everything":   func(t *testing.T) netip.AddrPort { return hostile(t, defers) },
	} {
		t.Run(name, func(t *testing.T) {
			bad := host(t)
			router := byDomain{good: sink, other: func(string) netip.AddrPort { return bad }}
			var best float64
			for range 3 {
				alone := newOffice(t, router)
				var without, with time.Duration
				alone.run(func() { without = alone.good(good) })

				crowded := newOffice(t, router)
				crowded.submit(backlog, func(int) string { return "bad.test" })
				before := heap()
				crowded.run(func() {
					with = crowded.good(good)
					if grown := int64(heap()) - int64(before); grown > memory {
						t.Errorf("%d octets more in memory beside %d messages that wait", grown, backlog)
					}
				})
				best = max(best, without.Seconds()/with.Seconds())
				t.Logf("%d messages in %v alone, in %v beside %d (%d attempts at those)",
					good, without, with, backlog, crowded.attempts.Load())
			}
			if long() && best < 0.9 {
				t.Errorf("%.2f of the speed without the others, want 0.9", best)
			}
		})
	}
}

// TestMillionDestinations: as many destinations as there are messages, each with a
// host of its own that is dead, in bounded memory.
func TestMillionDestinations(t *testing.T) {
	n := 20_000
	if long() {
		n = 1_000_000
	}
	// 20,000 sites and as many hosts are remembered at most, and 2,000 deliveries
	// are under way.
	const memory = 96 << 20
	sink := otherProcess(t)
	router := byDomain{good: sink, other: func(domain string) netip.AddrPort {
		var i uint32
		_, _ = fmt.Sscanf(domain, "d%d.test", &i)
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, byte(1 + i>>16), byte(i >> 8), byte(i)}), 1)
	}}
	o := newOffice(t, router)
	o.submit(n, func(i int) string { return fmt.Sprintf("d%d.test", i) })
	before := heap()
	o.run(func() {
		for seen, step := int64(0), int64(n/10); seen < int64(n); {
			<-time.After(100 * time.Millisecond)
			if now := o.attempts.Load(); now >= seen+step || now >= int64(n) {
				seen = now
				if grown := int64(heap()) - int64(before); grown > memory {
					t.Errorf("%d octets more in memory after %d destinations", grown, seen)
				}
			}
		}
		took := o.good(1000)
		t.Logf("1000 messages to another in %v beside %d destinations, %d attempts at those", took, n, o.attempts.Load())
	})
}
