package smtptest_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

func TestConnIsAConn(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		a, b := smtptest.Pipe()
		return a, b, func() { a.Close(); b.Close() }, nil
	})
}

func TestConnEnds(t *testing.T) {
	cases := []struct {
		name string
		end  func(server *smtptest.Conn)
		read error // after "bye"
		// write is the error of the second write: the first one finds out.
		write error
	}{
		{"close", func(c *smtptest.Conn) { c.Close() }, io.EOF, syscall.EPIPE},
		{"half close", func(c *smtptest.Conn) { c.CloseWrite() }, io.EOF, nil},
		{"reset", func(c *smtptest.Conn) { c.SetLinger(0); c.Close() }, syscall.ECONNRESET, syscall.EPIPE},
		{"linger of a second", func(c *smtptest.Conn) { c.SetLinger(1); c.Close() }, io.EOF, syscall.EPIPE},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			client, server := smtptest.Pipe()
			defer client.Close()
			defer server.Close()
			io.WriteString(server, "bye")
			c.end(server)
			got := make([]byte, 10)
			if n, err := client.Read(got); string(got[:n]) != "bye" || err != nil {
				t.Fatalf("read %q, %v, before the end", got[:n], err)
			}
			for range 2 {
				if n, err := client.Read(got); n != 0 || !errors.Is(err, c.read) {
					t.Errorf("read %d octets, %v, want %v", n, err, c.read)
				}
			}
			client.Write([]byte("x"))
			if _, err := client.Write([]byte("x")); !errors.Is(err, c.write) {
				t.Errorf("write: %v, want %v", err, c.write)
			}
			var op *net.OpError
			if _, err := client.Write([]byte("x")); err != nil && (!errors.As(err, &op) || op.Op != "write" || op.Addr != client.RemoteAddr()) {
				t.Errorf("write: %#v, want a *net.OpError of the connection", err)
			}
		})
	}
}

func TestConnClosedWithOctetsUnread(t *testing.T) {
	client, server := smtptest.Pipe()
	defer client.Close()
	io.WriteString(client, "never read")
	io.WriteString(server, "bye")
	server.Close()
	got := make([]byte, 10)
	if n, err := client.Read(got); string(got[:n]) != "bye" || err != nil {
		t.Fatalf("read %q, %v, before the reset", got[:n], err)
	}
	if _, err := client.Read(got); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset", err)
	}
}

func TestConnCloseEndsABlockedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := smtptest.Pipe()
		defer client.Close()
		time.AfterFunc(time.Minute, func() { server.Close() })
		began := time.Now()
		n, err := client.Write(make([]byte, 1<<20))
		if !errors.Is(err, syscall.EPIPE) || n != 64<<10 || time.Since(began) != time.Minute {
			t.Errorf("wrote %d octets, %v, after %v", n, err, time.Since(began))
		}
	})
}

func TestConnLatencyAndLoss(t *testing.T) {
	var refused error
	dial := func(t *testing.T, link smtptest.Link) (net.Conn, *smtptest.Network) {
		n := &smtptest.Network{
			Servers: map[string]smtptest.Server{"2001:db8::1": &smtptest.Host{}},
			Links:   map[string]smtptest.Link{"2001:db8::1": link},
			Seed:    1,
		}
		conn, err := n.DialContext(t.Context(), "tcp6", "[2001:db8::1]:25")
		if err != nil {
			t.Fatal(err)
		}
		_, refused = n.DialContext(t.Context(), "tcp4", "[2001:db8::1]:25")
		return conn, n
	}
	t.Run("latency", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			conn, n := dial(t, smtptest.Link{Latency: 10 * time.Millisecond})
			defer n.Close()
			defer conn.Close()
			converse(t, conn, plain+rset)
			// Connecting, the greeting, EHLO and RSET are a round trip each.
			if took := time.Since(began).Truncate(time.Microsecond); took != 80*time.Millisecond {
				t.Errorf("took %v, want 80 ms", took)
			}
			if !errors.Is(refused, syscall.EAFNOSUPPORT) {
				t.Errorf("dialling IPv6 as tcp4: %v", refused)
			}
		})
	})
	t.Run("loss delays and loses nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			conn, n := dial(t, smtptest.Link{Loss: 0.5})
			defer n.Close()
			defer conn.Close()
			converse(t, conn, plain+strings.Repeat(rset, 20)+quit)
			if took := time.Since(began); took < time.Second || took > 5*time.Minute {
				t.Errorf("took %v with half the segments lost", took)
			}
		})
	})
	t.Run("closing a network", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			conn, n := dial(t, smtptest.Link{})
			defer conn.Close()
			n.Close()
			if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read: %v, want a reset", err)
			}
			if _, err := n.DialContext(t.Context(), "tcp", "[2001:db8::1]:25"); !errors.Is(err, net.ErrClosed) {
				t.Errorf("dial: %v, want %v", err, net.ErrClosed)
			}
		})
	})
}

func TestReadDeadlineHasPassed(t *testing.T) {
	client, server := smtptest.Pipe()
	defer client.Close()
	defer server.Close()
	io.WriteString(server, "there")
	client.SetReadDeadline(time.Now().Add(-time.Second))
	if n, err := client.Read(make([]byte, 5)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d octets, %v", n, err)
	}
	client.SetReadDeadline(time.Time{})
	if n, err := client.Read(make([]byte, 5)); n != 5 || err != nil {
		t.Errorf("read %d octets, %v, without a deadline", n, err)
	}
}
