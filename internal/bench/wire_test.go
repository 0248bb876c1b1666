//go:build linux

package bench

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wire is a long way to a host: a proxy that carries every octet half a round
// trip later, in order and at any rate. It knows when who spoke.
type wire struct {
	roundTrip time.Duration
	host      string

	connections atomic.Int64
	turns       atomic.Int64 // how often a client spoke after the host had: round trips
	waiting     atomic.Int64 // clients that have spoken and have no answer yet
	peak        atomic.Int64 // the most there were of them at one time

	listener net.Listener
	done     chan struct{}
	work     sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
}

// startWire listens at an address until the test ends.
func startWire(t *testing.T, addr, host string, roundTrip time.Duration) *wire {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{roundTrip: roundTrip, host: host, listener: l, done: make(chan struct{})}
	w.work.Go(w.accept)
	t.Cleanup(func() {
		close(w.done)
		l.Close()
		w.mu.Lock()
		for _, c := range w.conns {
			c.Close()
		}
		w.mu.Unlock()
		w.work.Wait()
	})
	return w
}

func (w *wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.connections.Add(1)
		host, err := net.Dial("tcp", w.host)
		if err != nil {
			client.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, client, host)
		w.mu.Unlock()
		var spoke atomic.Bool // the client did, after the host
		spoken := func() {
			if !spoke.Swap(true) {
				w.turns.Add(1)
				n := w.waiting.Add(1)
				for p := w.peak.Load(); n > p && !w.peak.CompareAndSwap(p, n); p = w.peak.Load() {
				}
			}
		}
		answered := func() {
			if spoke.Swap(false) {
				w.waiting.Add(-1)
			}
		}
		w.carry(client, host, spoken, answered)
		w.carry(host, client, answered, answered)
	}
}

// parcel is what was read at one time, to be written at another.
type parcel struct {
	data []byte
	due  time.Time
}

// carry carries one direction of a connection; heard is called for each piece,
// over at the end.
func (w *wire) carry(from, to net.Conn, heard, over func()) {
	way := make(chan parcel, 4096)
	w.work.Go(func() {
		defer close(way)
		defer over()
		for {
			buf := make([]byte, 32<<10)
			n, err := from.Read(buf)
			if n > 0 {
				heard()
				way <- parcel{buf[:n], time.Now().Add(w.roundTrip / 2)}
			}
			if err != nil {
				return
			}
		}
	})
	w.work.Go(func() {
		defer func() {
			to.Close()
			from.Close()
			for range way { // let the reader end
			}
		}()
		timer := time.NewTimer(0)
		defer timer.Stop()
		for p := range way {
			timer.Reset(time.Until(p.due))
			select {
			case <-timer.C:
			case <-w.done:
				return
			}
			if _, err := to.Write(p.data); err != nil {
				return
			}
		}
	})
}
