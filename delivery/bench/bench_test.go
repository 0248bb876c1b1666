package bench

import (
	"fmt"
	"testing"
	"time"
)

const size = 4 << 10

// start runs a sink, behind a wire of the given round trip if that is not zero.
func start(tb testing.TB, sink *Sink, roundTrip time.Duration) string {
	tb.Helper()
	addr, err := sink.Start()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { sink.Close() })
	if roundTrip == 0 {
		return addr
	}
	wire := &Delay{RoundTrip: roundTrip, Target: addr}
	if addr, err = wire.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { wire.Close() })
	return addr
}

// connect makes all clients, each with a first message behind it.
func connect(tb testing.TB, addr string) []Client {
	tb.Helper()
	clients, err := Clients(addr, size)
	if err != nil {
		tb.Fatal(err)
	}
	for _, c := range clients {
		tb.Cleanup(func() { c.Close() })
		if err := c.Send(); err != nil {
			tb.Fatalf("%s: %v", c.Name, err)
		}
	}
	return clients
}

// BenchmarkLoopback is a message over a kept connection, no distance.
func BenchmarkLoopback(b *testing.B) {
	for _, sink := range []*Sink{{Pipelining: true, Chunking: true}, {Pipelining: true}} {
		addr := start(b, sink, 0)
		for _, c := range connect(b, addr) {
			b.Run(fmt.Sprintf("chunking=%t/client=%s", sink.Chunking, c.Name), func(b *testing.B) {
				b.ReportAllocs()
				before := sink.RoundTrips.Load()
				for b.Loop() {
					if err := c.Send(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(sink.RoundTrips.Load()-before)/float64(b.N), "roundtrips/op")
			})
		}
	}
}

// BenchmarkDistance is the same over a wire of 50 ms.
func BenchmarkDistance(b *testing.B) {
	for _, sink := range []*Sink{{Pipelining: true, Chunking: true}, {Pipelining: true}} {
		addr := start(b, sink, 50*time.Millisecond)
		for _, c := range connect(b, addr) {
			b.Run(fmt.Sprintf("chunking=%t/client=%s", sink.Chunking, c.Name), func(b *testing.B) {
				for b.Loop() {
					if err := c.Send(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestRoundTrips holds that a message over a kept connection costs one round
// trip with CHUNKING and two without, fewer than any other client's.
func TestRoundTrips(t *testing.T) {
	for _, c := range []struct {
		sink *Sink
		want int64
	}{
		{&Sink{Pipelining: true, Chunking: true}, 1},
		{&Sink{Pipelining: true}, 2},
	} {
		t.Run(fmt.Sprintf("chunking=%t", c.sink.Chunking), func(t *testing.T) {
			addr := start(t, c.sink, 0)
			for i, client := range connect(t, addr) {
				const messages = 20
				before := c.sink.RoundTrips.Load()
				for range messages {
					if err := client.Send(); err != nil {
						t.Fatalf("%s: %v", client.Name, err)
					}
				}
				got := c.sink.RoundTrips.Load() - before
				t.Logf("%s: %.2f round trips a message", client.Name, float64(got)/messages)
				switch {
				case i == 0 && got != c.want*messages:
					t.Errorf("nexthop: %d round trips for %d messages, want %d", got, messages, c.want*messages)
				case i > 0 && got <= c.want*messages:
					t.Errorf("%s needs no more than nexthop: %d round trips for %d messages", client.Name, got, messages)
				}
			}
		})
	}
}

// TestDistance holds the speed at a round trip of 50 ms.
func TestDistance(t *testing.T) {
	for _, c := range []struct {
		sink *Sink
		want float64 // times the fastest of the others
	}{
		{&Sink{Pipelining: true, Chunking: true}, 3.5},
		{&Sink{Pipelining: true}, 1.8},
	} {
		t.Run(fmt.Sprintf("chunking=%t", c.sink.Chunking), func(t *testing.T) {
			addr := start(t, c.sink, 50*time.Millisecond)
			var nexthop time.Duration
			for i, client := range connect(t, addr) {
				const messages = 5
				began := time.Now()
				for range messages {
					if err := client.Send(); err != nil {
						t.Fatalf("%s: %v", client.Name, err)
					}
				}
				took := time.Since(began) / messages
				t.Logf("%s: %v a message", client.Name, took)
				if i == 0 {
					nexthop = took
				} else if ratio := float64(took) / float64(nexthop); ratio < c.want {
					t.Errorf("nexthop is %.2f times as fast as %s, want %.1f", ratio, client.Name, c.want)
				}
			}
		})
	}
}
