package smtptest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

func TestNetworkDials(t *testing.T) {
	cases := []struct {
		name string
		link smtptest.Link
		addr string
		want error
		took time.Duration
	}{
		{name: "a server", addr: "192.0.2.1:25"},
		{name: "a server far away", addr: "192.0.2.1:25", link: smtptest.Link{Latency: 25 * time.Millisecond}, took: 50 * time.Millisecond},
		{name: "no server on the port", addr: "192.0.2.1:26", want: syscall.ECONNREFUSED},
		{name: "nobody there", addr: "192.0.2.9:25", want: syscall.EHOSTUNREACH},
		{name: "refused", addr: "192.0.2.1:25", link: smtptest.Link{Fault: smtptest.ConnRefused}, want: syscall.ECONNREFUSED},
		{name: "unreachable", addr: "192.0.2.1:25", link: smtptest.Link{Fault: smtptest.Unreachable, Latency: time.Second}, want: syscall.EHOSTUNREACH, took: 2 * time.Second},
		{name: "black hole", addr: "192.0.2.1:25", link: smtptest.Link{Fault: smtptest.BlackHole}, want: context.DeadlineExceeded, took: time.Minute},
		{name: "no local port", addr: "192.0.2.1:25", link: smtptest.Link{Fault: smtptest.NoPorts}, want: syscall.EADDRNOTAVAIL},
		{name: "no file descriptor", addr: "192.0.2.1:25", link: smtptest.Link{Fault: smtptest.NoFiles}, want: syscall.EMFILE},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &smtptest.Network{
					Servers: map[string]smtptest.Server{"192.0.2.1": &smtptest.Host{}},
					Links:   map[string]smtptest.Link{"192.0.2.1": c.link},
				}
				defer n.Close()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began := time.Now()
				conn, err := n.DialContext(ctx, "tcp", c.addr)
				if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
					t.Fatalf("error %v, want %v", err, c.want)
				}
				if took := time.Since(began); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				var op *net.OpError
				if err != nil && !errors.As(err, &op) {
					t.Errorf("error is a %T, want a *net.OpError", err)
				}
				dials := n.Dials()
				if len(dials) != 1 || dials[0].Addr != netip.MustParseAddrPort(c.addr) || (dials[0].Err == nil) != (err == nil) {
					t.Errorf("dials %+v", dials)
				}
				if conn != nil {
					conn.Close()
				}
			})
		})
	}
}

func TestNetworkCutAndHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": &smtptest.Host{Name: "mx.example"}}}
		defer n.Close()
		conn, err := n.DialContext(t.Context(), "tcp", "192.0.2.1:25")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		converse(t, conn, `S: 220 mx.example ESMTP`)
		if err := n.Cut("192.0.2.0/24"); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(time.Hour))
		io.WriteString(conn, "NOOP\r\n")
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read across a cut: %v", err)
		}
		time.AfterFunc(time.Minute, func() { n.Heal("192.0.2.0/24") })
		conn.SetReadDeadline(time.Time{})
		converse(t, conn, `S: 250 2.0.0 ok`)

		n.Cut("192.0.2.1")
		time.AfterFunc(time.Minute, func() { n.Heal("192.0.2.1") })
		again, err := n.DialContext(t.Context(), "tcp", "192.0.2.1:25")
		if err != nil {
			t.Fatal(err)
		}
		again.Close()
	})
}

func TestNetworkStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "220 hello", Then: smtptest.StopReading}}}
		n := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": h}, Window: 1000}
		defer n.Close()
		conn, err := n.DialContext(t.Context(), "tcp", "192.0.2.1:25")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		converse(t, conn, "S: 220 hello")
		conn.SetWriteDeadline(time.Now().Add(time.Minute))
		began := time.Now()
		k, err := conn.Write(make([]byte, 5000))
		if !errors.Is(err, os.ErrDeadlineExceeded) || k != 1000 || time.Since(began) != time.Minute {
			t.Errorf("wrote %d octets, %v, after %v; want the window of 1000 and a timeout", k, err, time.Since(began))
		}
	})
}
