package mx_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// log notes who was asked, in order.
type log struct {
	mu    sync.Mutex
	asked []string
}

func (l *log) around(name string, s script) script {
	return func(x exchange) {
		l.mu.Lock()
		l.asked = append(l.asked, name)
		l.mu.Unlock()
		s(x)
	}
}

// take is who was asked since the last call.
func (l *log) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := l.asked
	l.asked = nil
	return asked
}

func TestClientFailsOver(t *testing.T) {
	good := answering(t, 0, "e.test. 60 IN A 192.0.2.1")
	tests := []struct {
		name          string
		first, second script
		wantAsked     []string
		wantFailure   mx.ResolveErrorKind
		fails         bool
		wantTime      time.Duration
	}{
		{name: "the first answers", first: good, second: good, wantAsked: []string{"1"}},
		{name: "the first is silent", first: silent, second: good, wantAsked: []string{"1", "2"}, wantTime: 5 * time.Second},
		{name: "the first fails", first: answering(t, dns.RcodeServerFailure), second: good, wantAsked: []string{"1", "2"}},
		{name: "the first refuses", first: answering(t, dns.RcodeRefused), second: good, wantAsked: []string{"1", "2"}},
		{name: "the first is lame", first: answering(t, 0, "authority", "test. 60 IN NS ns.test."), second: good, wantAsked: []string{"1", "2"}},
		{name: "an absence is an answer", first: answering(t, dns.RcodeNameError), second: good, wantAsked: []string{"1"}},
		{
			name: "MX-5 all are silent", first: silent, second: silent, fails: true, wantFailure: mx.Timeout,
			wantAsked: []string{"1", "2", "1", "1", "2", "2"}, wantTime: 20 * time.Second,
		},
		{
			name: "one fails, one is silent", first: answering(t, dns.RcodeServerFailure), second: silent, fails: true, wantFailure: mx.ServFail,
			wantAsked: []string{"1", "2", "2", "2"}, wantTime: 10 * time.Second,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l log
				c := &mx.Client{
					Servers: []mx.Server{{Addr: first}, {Addr: second}},
					Dial:    dialTo(t, map[string]script{first: l.around("1", test.first), second: l.around("2", test.second)}),
				}
				start := time.Now()
				_, err := c.Resolve(t.Context(), "e.test", mx.TypeA)
				if test.fails {
					wantFailure(t, err, test.wantFailure)
				} else if err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took != test.wantTime {
					t.Errorf("took %v, want %v", took, test.wantTime)
				}
				if asked := l.take(); !slices.Equal(asked, test.wantAsked) {
					t.Errorf("asked %v, want %v", asked, test.wantAsked)
				}
			})
		})
	}
}

func TestClientStopsAtBogus(t *testing.T) {
	t.Run("MX-36 bogus data is not asked for elsewhere", func(t *testing.T) {
		c := &mx.Client{
			Servers: []mx.Server{{Addr: first, TrustAD: true}, {Addr: second}},
			Dial: dialTo(t, map[string]script{
				first: func(x exchange) {
					m := x.reply(t, dns.RcodeServerFailure)
					m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus}}
					x.send(pack(t, m))
				},
				second: answering(t, 0, "e.test. 60 IN A 203.0.113.9"),
			}),
		}
		_, err := c.Resolve(t.Context(), "e.test", mx.TypeA)
		wantFailure(t, err, mx.Bogus)
	})
}

func TestClientRemembersTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		var up atomic.Bool
		good := answering(t, 0, "e.test. 60 IN A 192.0.2.1")
		c := &mx.Client{
			Servers: []mx.Server{{Addr: first}, {Addr: second}},
			Dial: dialTo(t, map[string]script{
				first: l.around("1", func(x exchange) {
					if up.Load() {
						good(x)
					}
				}),
				second: l.around("2", good),
			}),
		}
		ask := func(want ...string) {
			t.Helper()
			if _, err := c.Resolve(t.Context(), "e.test", mx.TypeA); err != nil {
				t.Fatal(err)
			}
			if asked := l.take(); !slices.Equal(asked, want) {
				t.Fatalf("asked %v, want %v", asked, want)
			}
		}
		ask("1", "2") // dead
		ask("2")
		time.Sleep(29 * time.Second)
		ask("2")
		time.Sleep(time.Second)
		ask("1", "1", "2") // asked again, without EDNS and over TCP; still dead
		up.Store(true)
		time.Sleep(30 * time.Second)
		ask("1")
	})
}

func TestClientForgivesTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		var up atomic.Bool
		good, bad := answering(t, 0, "e.test. 60 IN A 192.0.2.1"), answering(t, dns.RcodeServerFailure)
		choose := func(ifUp, ifDown script) script {
			return func(x exchange) {
				if up.Load() {
					ifUp(x)
				} else {
					ifDown(x)
				}
			}
		}
		c := &mx.Client{
			Servers: []mx.Server{{Addr: first}, {Addr: second}},
			Dial: dialTo(t, map[string]script{
				first: l.around("1", choose(good, silent)), second: l.around("2", choose(bad, good)),
			}),
		}
		for i, want := range [][]string{{"1", "2"}, {"2", "1"}, {"1"}} {
			if _, err := c.Resolve(t.Context(), "e.test", mx.TypeA); err != nil {
				t.Fatal(err)
			}
			if asked := l.take(); !slices.Equal(asked, want) {
				t.Errorf("question %d: asked %v, want %v", i, asked, want)
			}
			up.Store(true)
		}
	})
}

func TestClientBlamesNoServerForImpatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		good := answering(t, 0, "e.test. 60 IN A 192.0.2.1")
		c := &mx.Client{
			Servers: []mx.Server{{Addr: first}, {Addr: second}},
			Dial: dialTo(t, map[string]script{
				first: l.around("1", func(x exchange) {
					time.Sleep(time.Second)
					good(x)
				}),
				second: l.around("2", good),
			}),
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := c.Resolve(ctx, "e.test", mx.TypeA)
		wantFailure(t, err, mx.Canceled)
		if _, err := c.Resolve(t.Context(), "e.test", mx.TypeA); err != nil {
			t.Fatal(err)
		}
		if asked := l.take(); !slices.Equal(asked, []string{"1", "1"}) {
			t.Errorf("asked %v, want the first server each time", asked)
		}
	})
}

func TestClientWithoutServers(t *testing.T) {
	t.Run("MX-5 nobody to ask", func(t *testing.T) {
		c := &mx.Client{}
		_, err := c.Resolve(t.Context(), "e.test", mx.TypeA)
		wantFailure(t, err, mx.NoAnswer)
	})
	t.Run("MX-5 nobody can be reached", func(t *testing.T) {
		c := &mx.Client{Servers: []mx.Server{{Addr: first}, {Addr: second}}, Dial: dialTo(t, nil)}
		_, err := c.Resolve(t.Context(), "e.test", mx.TypeA)
		if wantFailure(t, err, mx.Unreachable); !errors.Is(err, errRefused) {
			t.Errorf("error %v does not wrap its cause", err)
		}
	})
}

func TestClientValidate(t *testing.T) {
	c := &mx.Client{Servers: []mx.Server{{Addr: "192.0.2.1"}}, Timeout: -1, MaxTimeout: -1, Attempts: -1, UDPSize: 100}
	err := c.Validate()
	problems, ok := err.(interface{ Unwrap() []error })
	if !ok || len(problems.Unwrap()) != 5 {
		t.Errorf("problems are %v, want one for each of five fields", err)
	}
	if err := clientOf(t, silent).Validate(); err != nil {
		t.Errorf("a sound client has %v", err)
	}
}

func TestClientWithoutEDNS(t *testing.T) {
	for name, rcode := range map[string]int{"format error": dns.RcodeFormatError, "not implemented": dns.RcodeNotImplemented, "bad version": dns.RcodeBadVers} {
		t.Run(name+" is answered without EDNS", func(t *testing.T) {
			var sizes []uint16
			c := clientOf(t, func(x exchange) {
				if opt := x.query.IsEdns0(); opt != nil {
					sizes = append(sizes, opt.UDPSize())
					m := x.reply(t, rcode)
					if rcode <= 15 { // else the OPT record carries the upper bits
						m.Question, m.Extra = nil, nil // as servers do that read no further
					}
					x.send(pack(t, m))
					return
				}
				sizes = append(sizes, 0)
				x.send(pack(t, x.reply(t, 0, "e.test. 60 IN A 192.0.2.1")))
			})
			if _, err := c.Resolve(t.Context(), "e.test", mx.TypeA); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(sizes, []uint16{1232, 0}) {
				t.Errorf("queries had EDNS sizes %v, want 1232 and none", sizes)
			}
		})
	}
}

func TestClientQueries(t *testing.T) {
	var queries []*dns.Msg
	ad := true
	serve := func(x exchange) {
		queries = append(queries, x.query)
		m := x.reply(t, 0, "e.test. 60 IN A 192.0.2.1")
		m.AuthenticatedData = ad
		x.send(pack(t, m))
	}
	c := clientOf(t, serve)
	ask := func() mx.Answer {
		a, err := c.Resolve(t.Context(), "e.test", mx.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	t.Run("MX-36 an untrusted AD bit says nothing", func(t *testing.T) {
		if ask().Secure {
			t.Error("secure without trust")
		}
	})
	c.Servers[0].TrustAD = true
	t.Run("MX-36 a trusted AD bit is believed", func(t *testing.T) {
		if !ask().Secure {
			t.Error("not secure")
		}
	})
	ad = false
	t.Run("MX-36 no AD bit, not secure", func(t *testing.T) {
		if ask().Secure {
			t.Error("secure without AD")
		}
	})
	t.Run("MX-36 queries have AD set and CD clear", func(t *testing.T) {
		for _, q := range queries {
			if !q.AuthenticatedData || q.CheckingDisabled || !q.RecursionDesired {
				t.Errorf("AD %v, CD %v, RD %v; want true, false, true", q.AuthenticatedData, q.CheckingDisabled, q.RecursionDesired)
			}
		}
	})
	t.Run("ids are random", func(t *testing.T) {
		queries = nil
		seen := make(map[uint16]bool)
		for range 50 {
			ask()
			seen[queries[len(queries)-1].Id] = true
		}
		if len(seen) < 45 {
			t.Errorf("%d different ids in 50 queries", len(seen))
		}
	})
}

func TestClientEndsWithItsContext(t *testing.T) {
	tests := map[string]struct {
		end  func(context.Context) (context.Context, context.CancelFunc)
		want error
	}{
		"canceled": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, context.Canceled},
		"deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, context.DeadlineExceeded},
	}
	for name, test := range tests {
		for _, tcp := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := test.end(t.Context())
					defer cancel()
					c := clientOf(t, silent)
					c.TCPOnly = tcp
					start := time.Now()
					_, err := c.Resolve(ctx, "e.test", mx.TypeA)
					if wantFailure(t, err, mx.Canceled); !errors.Is(err, test.want) {
						t.Errorf("error is %v, want %v", err, test.want)
					}
					if took := time.Since(start); took != time.Second {
						t.Errorf("ended after %v, want 1s", took)
					}
				})
			})
		}
	}
}

func TestClientOnSockets(t *testing.T) {
	server := &mxtest.Server{DNS: &mxtest.DNS{
		Zone:  "e.test. A 192.0.2.1\nlong.test. A 192.0.2.1\nlong.test. A 192.0.2.2",
		Rules: []mxtest.Rule{{Name: "long.test", Fault: mxtest.Truncated}},
	}}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c := &mx.Client{Servers: []mx.Server{{Addr: server.Addr()}}}
	for range 30 {
		if a, err := c.Resolve(t.Context(), "e.test", mx.TypeA); err != nil || len(a.Addrs) != 1 {
			t.Fatalf("answer %+v, %v", a, err)
		}
	}
	t.Run("MX-35 over TCP where UDP is too small", func(t *testing.T) {
		if a, err := c.Resolve(t.Context(), "long.test", mx.TypeA); err != nil || len(a.Addrs) != 2 {
			t.Errorf("answer %+v, %v; want both addresses", a, err)
		}
	})
}

func TestClientOnSocketsRefused(t *testing.T) {
	t.Run("MX-5 a closed port fails at once", func(t *testing.T) {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := conn.LocalAddr().String()
		conn.Close()
		start := time.Now()
		_, err = (&mx.Client{Servers: []mx.Server{{Addr: addr}}}).Resolve(t.Context(), "e.test", mx.TypeA)
		wantFailure(t, err, mx.Unreachable)
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
