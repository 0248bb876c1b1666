package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

const (
	agentSize  = 10 << 10
	agentConns = 20
	sinkEnv    = "NEXTHOP_BENCH_SINK"
)

// TestMain lets the test binary be the sink, in a process of its own, so that
// its processor time is not the source's.
func TestMain(m *testing.M) {
	if os.Getenv(sinkEnv) == "" {
		os.Exit(m.Run())
	}
	sink := &Sink{Pipelining: true, Chunking: true}
	var err error
	if os.Getenv(sinkEnv) == withTLS {
		sink.TLS, err = rsaServer()
	}
	var addr string
	if err == nil {
		addr, err = sink.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(addr)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); { // until the test ends
		fmt.Println(userCPU().Nanoseconds())
	}
	os.Exit(0)
}

// otherProcess starts a sink and returns its address.
func otherProcess(tb testing.TB) netip.AddrPort {
	tb.Helper()
	addr, _ := otherProcessOf(tb, "1")
	return addr
}

// otherProcessOf starts a sink of a kind, and returns its address and a function that says
// how much processor time it has used outside the system.
func otherProcessOf(tb testing.TB, kind string) (addr netip.AddrPort, used func() time.Duration) {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), sinkEnv+"="+kind, "GOMAXPROCS=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	return netip.MustParseAddrPort(strings.TrimSpace(line)), func() time.Duration {
		_, _ = io.WriteString(in, "\n")
		var ns int64
		if _, err := fmt.Fscanln(lines, &ns); err != nil {
			tb.Fatal(err)
		}
		return time.Duration(ns)
	}
}

// cpu is the processor time this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// userCPU is what of it was used outside the system.
func userCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano())
}

// toSink routes all mail to one address.
type toSink struct{ addr netip.AddrPort }

func (r toSink) Route(_ context.Context, _, domain string) (mx.Route, error) {
	return mx.Route{Domain: domain, Hosts: []mx.Host{{
		Name: "sink.test", Target: "sink.test", Port: r.addr.Port(), Addrs: []netip.Addr{r.addr.Addr()}, TLS: mx.TLSNone,
	}}}, nil
}

func content() []byte {
	head := "From: a@from.test\r\nTo: u@e.test\r\nSubject: s\r\n\r\n"
	line := strings.Repeat("x", 70) + "\r\n"
	return []byte(head + strings.Repeat(line, (agentSize-len(head))/len(line)))
}

// BenchmarkAgent is a message from Submit to the sink, durably, beside a bare
// source that writes the same octets over as many kept connections: what the
// queue, the retries and all the rest cost.
func BenchmarkAgent(b *testing.B) {
	addr := otherProcess(b)
	b.Run("bare", func(b *testing.B) { measure(b, func() { bareSource(b, addr, b.N) }) })
	for _, domains := range []int{1, 1000} {
		b.Run(fmt.Sprintf("domains=%d", domains), func(b *testing.B) { agentSource(b, addr, domains, nil) })
	}
}

func measure(b *testing.B, f func()) {
	before := cpu()
	b.ResetTimer()
	f()
	b.StopTimer()
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "CPU-ns/msg")
}

// bareSource sends n messages, a command at a time, over kept connections.
func bareSource(tb testing.TB, addr netip.AddrPort, n int) {
	var left atomic.Int64
	left.Store(int64(n))
	var sources sync.WaitGroup
	body := append(content(), ".\r\n"...)
	for range agentConns {
		sources.Go(func() {
			conn, err := net.Dial("tcp", addr.String())
			if err != nil {
				tb.Error(err)
				return
			}
			defer conn.Close()
			r := bufio.NewReader(conn)
			say := func(p []byte) {
				if _, err := conn.Write(p); err != nil {
					tb.Error(err)
				}
				for {
					line, err := r.ReadSlice('\n')
					if err != nil {
						tb.Error(err)
						return
					}
					if len(line) > 3 && line[3] == ' ' {
						return
					}
				}
			}
			_, _ = r.ReadSlice('\n')
			say([]byte("EHLO from.test\r\n"))
			for left.Add(-1) >= 0 {
				say([]byte("MAIL FROM:<a@from.test>\r\n"))
				say([]byte("RCPT TO:<u@e.test>\r\n"))
				say([]byte("DATA\r\n"))
				say(body)
			}
		})
	}
	sources.Wait()
}

func agentSource(b *testing.B, addr netip.AddrPort, domains int, hook func(context.Context, delivery.Event)) {
	agentMail(b, addr, b.N, domains, hook, func(f func()) { measure(b, f) })
}

// agentMail sends n messages, while they are measured.
func agentMail(
	tb testing.TB, addr netip.AddrPort, n, domains int, hook func(context.Context, delivery.Event), measured func(func()),
) {
	spool, err := disk.Open(tb.TempDir(), disk.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	defer spool.Close()
	var delivered atomic.Int64
	all := make(chan struct{})
	agent := &delivery.Agent{
		Queue: spool, Sender: &delivery.Sender{Hello: "from.test", Router: toSink{addr}},
		Events: func(ctx context.Context, e delivery.Event) {
			if hook != nil {
				hook(ctx, e)
			}
			if e.Kind == delivery.Delivered && delivered.Add(1) == int64(n) {
				close(all)
			}
			if e.Kind == delivery.Deferred {
				tb.Errorf("deferred: %v", e.Err)
			}
		},
	}
	ctx, cancel := context.WithCancel(tb.Context())
	ended := make(chan error)
	go func() { ended <- agent.Run(ctx) }()
	body := queue.Bytes(bytes.Clone(content()))
	measured(func() {
		var next atomic.Int64
		var submitters sync.WaitGroup
		for range 100 {
			submitters.Go(func() {
				for i := next.Add(1); i <= int64(n); i = next.Add(1) {
					m := &queue.Message{From: "a@from.test", Content: body, Recipients: []queue.Recipient{
						{Address: fmt.Sprintf("u@d%d.test", i%int64(domains))},
					}}
					if _, err := agent.Submit(ctx, m); err != nil {
						tb.Error(err)
					}
				}
			})
		}
		submitters.Wait()
		select {
		case <-all:
		case <-time.After(time.Minute):
			tb.Errorf("%d of %d delivered", delivered.Load(), n)
		}
	})
	cancel()
	if err := <-ended; err != nil {
		tb.Error(err)
	}
}

// BenchmarkLoneMessage is how long a message takes from the end of Submit to the
// sink where there is no other and the session is warm.
func BenchmarkLoneMessage(b *testing.B) {
	spool, err := disk.Open(b.TempDir(), disk.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer spool.Close()
	arrived := make(chan time.Time, 1)
	sink := &Sink{Pipelining: true, Chunking: true}
	text, err := sink.Start()
	if err != nil {
		b.Fatal(err)
	}
	defer sink.Close()
	agent := &delivery.Agent{
		Queue: spool, Sender: &delivery.Sender{Hello: "from.test", Router: toSink{netip.MustParseAddrPort(text)}},
		Events: func(_ context.Context, e delivery.Event) {
			if e.Kind == delivery.Delivered {
				arrived <- e.Time
			}
		},
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() { ended <- agent.Run(ctx) }()
	body := queue.Bytes(content())
	var took []time.Duration
	for b.Loop() {
		m := &queue.Message{From: "a@from.test", Content: body, Recipients: []queue.Recipient{{Address: "u@d.test"}}}
		if _, err := agent.Submit(ctx, m); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		took = append(took, (<-arrived).Sub(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1000, "µs-median")
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}
