//go:build linux

package bench

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"
)

// hole is a host of which nothing comes back: its one place in the queue of new
// connections is taken, so the kernel drops every other SYN. It counts who tries.
type hole struct {
	raw  *net.IPConn
	done sync.WaitGroup

	mu    sync.Mutex
	tries map[uint16]bool // by the port of the client: a SYN sent again is not another
}

// startHole makes port 25 of holeIP a black hole until the test ends.
func startHole(t *testing.T) *hole {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	ip := netip.MustParseAddr(holeIP)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: 25, Addr: ip.As4()}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for open := 0; ; open++ {
		conn, err := net.DialTimeout("tcp", holeIP+":25", 200*time.Millisecond)
		if timedOut(err) {
			break
		}
		if err != nil || open == 10 {
			t.Fatalf("the black hole has taken %d connections: %v", open, err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	h := &hole{tries: make(map[uint16]bool)}
	if h.raw, err = net.ListenIP("ip4:tcp", &net.IPAddr{IP: ip.AsSlice()}); err != nil {
		t.Fatal(err)
	}
	h.done.Go(h.count)
	t.Cleanup(func() {
		h.raw.Close()
		h.done.Wait()
	})
	return h
}

// count reads the segments that come in, SYN being a flag in the fourteenth octet.
func (h *hole) count() {
	segment := make([]byte, 2048)
	for {
		n, _, err := h.raw.ReadFromIP(segment) // without the header of IP, which Read leaves
		if err != nil {
			return
		}
		const syn = 2
		if n >= 20 && segment[13]&syn != 0 {
			h.mu.Lock()
			h.tries[uint16(segment[0])<<8|uint16(segment[1])] = true
			h.mu.Unlock()
		}
	}
}

// tried is how many connections were tried.
func (h *hole) tried() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.tries)
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// TestHole: the rig's black hole is one, and counts.
func TestHole(t *testing.T) {
	h := startHole(t)
	for range 3 {
		conn, err := net.DialTimeout("tcp", holeIP+":25", 100*time.Millisecond)
		if !timedOut(err) {
			t.Fatalf("got %v, %v, want a timeout", conn, err)
		}
	}
	if n := h.tried(); n < 3 || n > 4 { // the last that filled it may still send
		t.Errorf("it counted %d tries, want 3", n)
	}
}
