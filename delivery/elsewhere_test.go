package delivery_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestSelfByGreeting is an MX host that turns out to be this one by its greeting,
// as where it stands behind the outside address of a NAT.
func TestSelfByGreeting(t *testing.T) {
	down := func() *smtptest.Host {
		return &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "421 down"}}}
	}
	self := func() *smtptest.Host { return &smtptest.Host{Name: "mx2.test"} }
	for _, c := range []struct {
		name    string
		records string
		hosts   map[string]*smtptest.Host
		want    queue.Outcome
		by      string // who took it
	}{
		{"a better host is down", "10 a,20 self,30 c", map[string]*smtptest.Host{"a": down(), "self": self(), "c": {}}, queue.Deferred, ""},
		{"an equal host is left", "10 a,20 self,20 c", map[string]*smtptest.Host{"a": down(), "self": self(), "c": self()}, queue.Deferred, ""},
		{"a better host is up", "10 a,20 self,30 c", map[string]*smtptest.Host{"a": {}, "self": self(), "c": {}}, queue.Delivered, "a"},
		{"none is better", "10 self,30 c", map[string]*smtptest.Host{"self": self(), "c": {}}, queue.Deferred, ""},
		{"there is no other", "10 self", map[string]*smtptest.Host{"self": self()}, queue.Failed, ""},
		{"a better host refuses for itself", "10 a,20 self,30 c", map[string]*smtptest.Host{"a": {Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "554 no"}}}, "self": self(), "c": {}}, queue.Deferred, ""},
	} {
		t.Run("MX-24, MX-27, QUE-19 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				zone := "mx2.test. A 192.0.2.200\n"
				for _, r := range strings.Split(c.records, ",") {
					pref, host, _ := strings.Cut(r, " ")
					zone += fmt.Sprintf("e.test. MX %s %s.test.\n", pref, host)
				}
				hosts := map[string]*smtptest.Host{}
				n := 0
				for name, h := range c.hosts {
					n++
					zone += fmt.Sprintf("%s.test. A 192.0.2.%d\n", name, n)
					hosts[name+".test"] = h
				}
				in := (&smtptest.Internet{Zone: zone, Hosts: hosts}).Start(t)
				sender := &delivery.Sender{Hello: "mx2.test", Self: []string{"mx2.test"}, Resolver: in, Dial: in.DialContext}
				defer sender.Close()
				report, _ := sender.Send(t.Context(), message("u@e.test"))
				rr := &report.Recipients[0]
				if rr.Outcome != c.want {
					t.Errorf("%v (%v), want %v", rr.Outcome, rr.Err, c.want)
				}
				for name, h := range c.hosts {
					if got := len(h.Messages()); (got > 0) != (name == c.by) {
						t.Errorf("%s has %d messages", name, got)
					}
				}
				last := rr.Attempts[len(rr.Attempts)-1]
				if skipped := c.want == queue.Deferred && !strings.HasPrefix(c.name, "an equal"); skipped && last.Next != delivery.StopSelf {
					t.Errorf("the walk ended with %v", last.Next)
				}
			})
		})
	}
}

// likePostfix is the server's end of a connection to a host that answers a group
// when there is nothing more to read. After the second message it has taken, on
// disk, it dies before a word of that is out, if dies is set.
func likePostfix(conn net.Conn, taken *[]string, dies bool) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	var out strings.Builder
	say := func(line string) {
		out.WriteString(line + "\r\n")
		if r.Buffered() == 0 {
			io.WriteString(conn, out.String())
			out.Reset()
		}
	}
	say("220 one")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch {
		case strings.HasPrefix(line, "EHLO"):
			say("250-one\r\n250-PIPELINING\r\n250 CHUNKING")
		case strings.HasPrefix(line, "BDAT"):
			var n int
			fmt.Sscanf(line, "BDAT %d", &n)
			b := make([]byte, n)
			io.ReadFull(r, b)
			*taken = append(*taken, string(b))
			if dies && len(*taken) == 2 {
				return
			}
			say("250 taken")
		default:
			say("250 ok")
		}
	}
}

// TestLostWithoutAWord is a kept session that is lost before any reply, with the
// content gone along: the same host may be asked again, and no other.
func TestLostWithoutAWord(t *testing.T) {
	for name, c := range map[string]struct {
		again   func() (net.Conn, error)
		want    queue.Outcome
		onFirst int // copies that the first host has in the end
		second  int
	}{
		"it cannot be reached":    {func() (net.Conn, error) { return nil, syscall.ECONNREFUSED }, queue.Unknown, 2, 0},
		"it is back":              {nil, queue.Delivered, 3, 0},
		"it is back, and refuses": {busyHost("220 one\r\n", "250 one\r\n", "550 no\r\n"), queue.Failed, 2, 0},
		"it is back, and defers":  {busyHost("220 one\r\n", "250 one\r\n", "250 ok\r\n", "450 later\r\n"), queue.Unknown, 2, 0},
		"it greets with 554":      {busyHost("554 no\r\n"), queue.Unknown, 2, 0},
	} {
		t.Run("SMTP-21 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				second := &smtptest.Host{}
				in := (&smtptest.Internet{
					Zone:  "a.test. MX 10 one.test.\na.test. MX 20 two.test.\none.test. A 198.51.100.1\ntwo.test. A 198.51.100.2\n",
					Hosts: map[string]*smtptest.Host{"two.test": second},
				}).Start(t)
				var taken []string
				dials := 0
				dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
					if addr != "198.51.100.1:25" {
						return in.DialContext(ctx, network, addr)
					}
					if dials++; dials > 1 && c.again != nil {
						return c.again()
					}
					client, server := net.Pipe()
					go likePostfix(server, &taken, dials == 1)
					return client, nil
				}
				sender := &delivery.Sender{Hello: "from.test", Resolver: in, Dial: dial}
				defer sender.Close()
				if _, err := sender.Send(t.Context(), message("first@a.test")); err != nil {
					t.Fatal(err)
				}
				m := message("u@a.test")
				report, _ := sender.Send(t.Context(), m)
				rr := &report.Recipients[0]
				if rr.Outcome != c.want || len(taken) != c.onFirst || len(second.Messages()) != c.second {
					t.Errorf("%v (%v), the first host has %d and the second %d; want %v, %d, %d",
						rr.Outcome, rr.Err, len(taken), len(second.Messages()), c.want, c.onFirst, c.second)
				}
				if rr.Outcome == queue.Unknown && (rr.Host != "one.test" || rr.Attempts[len(rr.Attempts)-1].Next != delivery.StopUnknown) {
					t.Errorf("%+v", rr)
				}
			})
		})
	}
}

// TestLostWithNothingSent is the same without content: another host may have the
// message.
func TestLostWithNothingSent(t *testing.T) {
	for once, outcome := range map[bool]queue.Outcome{true: queue.Delivered, false: queue.Unknown} {
		t.Run(fmt.Sprintf("SMTP-21 at most once: %t", once), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := &smtptest.Host{Extensions: []string{"PIPELINING", "CHUNKING"}, Script: []smtptest.Cue{
					{At: smtptest.Mail, Nth: 2, Then: smtptest.Close}, {At: smtptest.Banner, Conn: 2, Reply: "421 down"},
				}}
				second := &smtptest.Host{}
				in := (&smtptest.Internet{
					Zone:  "a.test. MX 10 one.test.\na.test. MX 20 two.test.\none.test. A 198.51.100.1\ntwo.test. A 198.51.100.2\n",
					Hosts: map[string]*smtptest.Host{"one.test": first, "two.test": second},
				}).Start(t)
				sender := &delivery.Sender{Hello: "from.test", Resolver: in, Dial: in.DialContext}
				defer sender.Close()
				if _, err := sender.Send(t.Context(), message("first@a.test")); err != nil {
					t.Fatal(err)
				}
				m := message("u@a.test")
				if once {
					m.Guarantee = queue.AtMostOnce
				}
				report, _ := sender.Send(t.Context(), m)
				if rr := &report.Recipients[0]; rr.Outcome != outcome || (len(second.Messages()) == 1) != once {
					t.Errorf("%v, the second host has %d messages", rr.Outcome, len(second.Messages()))
				}
			})
		})
	}
}

// busyHost answers each line, and the greeting before, with the next of its lines.
func busyHost(lines ...string) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			r := bufio.NewReader(server)
			for i, line := range lines {
				if i > 0 {
					if _, err := r.ReadString('\n'); err != nil {
						return
					}
				}
				io.WriteString(server, line)
			}
			for {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
				io.WriteString(server, "221 bye\r\n")
			}
		}()
		return client, nil
	}
}

// TestAtMostOnceWaits is that the content of a message that may not be delivered
// twice goes out once the host has agreed to take it.
func TestAtMostOnceWaits(t *testing.T) {
	for once, trips := range map[bool]int{true: 2, false: 1} {
		t.Run(fmt.Sprintf("SMTP-21 round trips of a message, at most once: %t", once), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Extensions: []string{"PIPELINING", "CHUNKING"}}
				in := (&smtptest.Internet{Zone: "mx1.e.test. A 192.0.2.1\n", Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}).Start(t)
				sender := &delivery.Sender{Hello: "from.test", Dial: in.DialContext, Router: onlyHost{}}
				defer sender.Close()
				m := message("u@e.test")
				if once {
					m.Guarantee = queue.AtMostOnce
				}
				if _, err := sender.Send(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				pass(time.Millisecond)
				before := host.RoundTrips()
				if _, err := sender.Send(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				pass(time.Millisecond)
				if n := host.RoundTrips() - before; n != trips {
					t.Errorf("%d round trips, want %d", n, trips)
				}
			})
		})
	}
}

// TestNextAddress is a session that is lost in the dialogue: the host's next
// address is asked before the next host.
func TestNextAddress(t *testing.T) {
	for _, at := range []smtptest.Stage{smtptest.Mail, smtptest.Rcpt, smtptest.Data} {
		t.Run("MX-17, SMTP-20 closed at "+at.String(), func(t *testing.T) {
			first := &smtptest.Host{Script: []smtptest.Cue{{At: at, Then: smtptest.Close}}}
			other, worse := script(), script()
			zone := "$ORIGIN e.test.\n@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 192.0.2.1\nmx1 A 192.0.2.2\nmx2 A 192.0.2.3\n"
			bubble(t, zone, map[string]smtptest.Server{"192.0.2.1": first, "192.0.2.2": other, "192.0.2.3": worse}, func(t *testing.T, r *rig) {
				report := r.send(t, message("u@e.test"))
				want(t, &report.Recipients[0], queue.Delivered, "mx1.e.test", "")
				if n := len(worse.Connections()); n != 0 {
					t.Errorf("the worse host got %d connections", n)
				}
			})
		})
	}
}

// noDeadline is a connection that knows no deadlines, as one through SSH.
type noDeadline struct{ net.Conn }

var errNoDeadline = errors.New("deadline not supported")

func (noDeadline) SetDeadline(time.Time) error      { return errNoDeadline }
func (noDeadline) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (noDeadline) SetWriteDeadline(time.Time) error { return errNoDeadline }

// TestDialWithoutDeadlines is that every wait ends over such connections too.
func TestDialWithoutDeadlines(t *testing.T) {
	for name, ends := range map[string]struct {
		timeouts delivery.Timeouts
		context  time.Duration
		within   time.Duration
	}{
		"by the context":     {delivery.Timeouts{}, time.Second, time.Second},
		"by its own timeout": {delivery.Timeouts{Greeting: time.Minute}, time.Hour, time.Minute},
		"by AtMost":          {delivery.Timeouts{}.AtMost(time.Minute), time.Hour, time.Minute},
	} {
		t.Run("SMTP-34 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer server.Close()
				s := &delivery.Sender{
					Hello: "from.test", Router: onlyHost{level: mx.TLSNone}, Timeouts: ends.timeouts,
					Dial: func(context.Context, string, string) (net.Conn, error) { return noDeadline{client}, nil },
				}
				ctx, cancel := context.WithTimeout(t.Context(), ends.context)
				defer cancel()
				began := time.Now()
				report, _ := s.Send(ctx, message("u@e.test"))
				if d := time.Since(began).Round(time.Second); d != ends.within || report.Recipients[0].Outcome != queue.Deferred {
					t.Errorf("%v after %v", report.Recipients[0].Outcome, d)
				}
			})
		})
	}
}
