package mxtest_test

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

func TestServerAnswersOnLoopback(t *testing.T) {
	for _, listen := range []string{"", "127.0.0.1:0", "127.53.0.1:0", "[::1]:0"} {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(network+" on "+listen, func(t *testing.T) {
				d := &mxtest.DNS{Zone: wireZone}
				server := start(t, &mxtest.Server{DNS: d, Listen: listen})
				client := &mx.Client{Servers: []mx.Server{{Addr: server.Addr()}}, TCPOnly: network == "tcp"}
				got := brief(client.Resolve(t.Context(), "e.test", mx.TypeMX))
				if want := "10 mx1.e.test., 20 mx2.e.test., 30 mx3.e.test. for 3m20s"; got != want {
					t.Errorf("answer is %q, want %q", got, want)
				}
				q := d.Queries()
				if len(q) != 1 || q[0].Server != server.Addr() || q[0].Transport != network {
					t.Fatalf("queries are %+v, want one to %s over %s", q, server.Addr(), network)
				}
				if from, err := netip.ParseAddrPort(q[0].Client); err != nil || !from.Addr().IsLoopback() {
					t.Errorf("the client is %q, want an address", q[0].Client)
				}
			})
		}
	}
}

func TestServersShareADNS(t *testing.T) {
	d := &mxtest.DNS{Zone: wireZone}
	for range 2 {
		server := start(t, &mxtest.Server{DNS: d})
		client := &mx.Client{Servers: []mx.Server{{Addr: server.Addr()}}}
		if _, err := client.Resolve(t.Context(), "e.test", mx.TypeMX); err != nil {
			t.Error(err)
		}
	}
	if q := d.Queries(); len(q) != 2 || q[0].Server == q[1].Server {
		t.Errorf("queries are %+v, want one to each server", q)
	}
}

func TestServerWithoutOneTransport(t *testing.T) {
	t.Run("no TCP", func(t *testing.T) {
		server := start(t, &mxtest.Server{NoTCP: true})
		if _, err := net.Dial("tcp", server.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dialling says %v, want refused", err)
		}
	})
	t.Run("no UDP", func(t *testing.T) {
		server := start(t, &mxtest.Server{NoUDP: true})
		client := &mx.Client{Servers: []mx.Server{{Addr: server.Addr()}}, TCPOnly: true}
		if a, err := client.Resolve(t.Context(), "e.test", mx.TypeMX); err != nil || a.Status != mx.NXDomain {
			t.Errorf("the zero DNS says %+v, %v over TCP", a, err)
		}
		for _, q := range server.DNS.Queries() {
			if q.Transport != "tcp" {
				t.Errorf("query %+v came over UDP", q)
			}
		}
		client.TCPOnly = false
		if a, err := client.Resolve(t.Context(), "e.test", mx.TypeMX); err != nil || a.Status != mx.NXDomain {
			t.Errorf("a client that begins with UDP gets %+v, %v", a, err)
		}
	})
	t.Run("neither", func(t *testing.T) {
		if err := (&mxtest.Server{NoUDP: true, NoTCP: true}).Start(); err == nil {
			t.Error("a server without transports starts")
		}
	})
}

func TestServerStart(t *testing.T) {
	t.Run("twice", func(t *testing.T) {
		server := start(t, &mxtest.Server{})
		if err := server.Start(); err == nil {
			t.Error("a second Start succeeds")
		}
	})
	t.Run("address that is taken", func(t *testing.T) {
		server := start(t, &mxtest.Server{})
		if err := (&mxtest.Server{Listen: server.Addr()}).Start(); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("error is %v, want address in use", err)
		}
	})
	t.Run("no address", func(t *testing.T) {
		if err := (&mxtest.Server{Listen: "nowhere"}).Start(); err == nil {
			t.Error("a server listens nowhere")
		}
	})
	t.Run("again where another was", func(t *testing.T) {
		first := start(t, &mxtest.Server{})
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		again := start(t, &mxtest.Server{Listen: first.Addr()})
		client := &mx.Client{Servers: []mx.Server{{Addr: again.Addr()}}}
		if _, err := client.Resolve(t.Context(), "e.test", mx.TypeMX); err != nil {
			t.Error(err)
		}
	})
}

func TestServerCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	server := &mxtest.Server{DNS: &mxtest.DNS{Rules: []mxtest.Rule{{Delay: time.Hour}}}}
	if err := server.Close(); err != nil {
		t.Errorf("closing what was not started: %v", err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	wire, err := query("e.test.", dns.TypeMX, 0).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"udp", "tcp", "tcp"} {
		conn, err := net.Dial(network, server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if network == "tcp" {
			wire = append([]byte{0, byte(len(wire))}, wire...)
		}
		if _, err := conn.Write(wire); err != nil {
			t.Fatal(err)
		}
	}
	for len(server.DNS.Queries()) < 2 { // the delayed answers have begun
		runtime.Gosched()
	}
	for range 2 {
		if err := server.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	// One that has said that it is done is counted until the runtime has it out of the way.
	after := runtime.NumGoroutine()
	for end := time.Now().Add(10 * time.Second); after > before && time.Now().Before(end); after = runtime.NumGoroutine() {
		runtime.Gosched()
	}
	if after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}

func TestManyAtOnce(t *testing.T) {
	d := &mxtest.DNS{Zone: wireZone}
	server := start(t, &mxtest.Server{DNS: d})
	client := &mx.Client{Servers: []mx.Server{{Addr: server.Addr()}}}
	old, changed := "192.0.2.1 for 1m0s", "192.0.2.99 for 5m0s"
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 20 {
				r := mx.Resolver(d)
				if i%2 == 0 {
					r = client
				}
				if got := brief(r.Resolve(t.Context(), "mx1.e.test", mx.TypeA)); got != old && got != changed {
					t.Errorf("answer is %q, want %q or %q", got, old, changed)
				}
				if i == 0 {
					d.SetSigned("e.test", true)
					if err := d.Set(mxtest.Rule{Name: "mx1.e.test", Type: mx.TypeA, Records: "A 192.0.2.99"}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	if n := d.Count("mx1.e.test", mx.TypeA); n != 160 {
		t.Errorf("counted %d questions, want 160", n)
	}
}

func TestRulesInOrder(t *testing.T) {
	d := &mxtest.DNS{
		Zone: wireZone,
		Rules: []mxtest.Rule{
			{Name: "e.test", Type: mx.TypeMX, Fault: mxtest.ServFail, Times: 2},
			{Name: "E.test.", Type: mx.TypeMX, Fault: mxtest.Refused, Times: 1},
			{Name: "*.e.test", Fault: mxtest.NXDomain},
			{Name: "f.test", Type: mx.TypeA, Fault: mxtest.Bogus},
		},
	}
	right := "10 mx1.e.test., 20 mx2.e.test., 30 mx3.e.test. for 3m20s"
	asked := func(name string, typ mx.Type, want ...string) {
		t.Helper()
		for i, want := range want {
			if got := brief(d.Resolve(t.Context(), name, typ)); !strings.Contains(got, want) {
				t.Errorf("%v of %s, time %d: %q, want %q", typ, name, i+1, got, want)
			}
		}
	}
	asked("e.test", mx.TypeMX, "server failure", "server failure", "refused", right, right)
	asked("e.test", mx.TypeA, "no data")
	asked("mx1.e.test", mx.TypeA, "no such name")
	asked("deep.mx1.e.test", mx.TypeTXT, "no such name")
	asked("www.e.test", mx.TypeA, "no such name for 10m0s")
	asked("f.test", mx.TypeA, "DNSSEC validation failure")
	asked("f.test", mx.TypeMX, "no such name")

	t.Run("Set comes before the others and replaces its like", func(t *testing.T) {
		set := func(r mxtest.Rule) {
			t.Helper()
			if err := d.Set(r); err != nil {
				t.Fatal(err)
			}
		}
		set(mxtest.Rule{Name: "www.e.test", Type: mx.TypeA, Fault: mxtest.Lame})
		asked("www.e.test", mx.TypeA, "lame")
		set(mxtest.Rule{Name: "www.e.test", Type: mx.TypeA})
		asked("www.e.test", mx.TypeA, "no such name") // its target still meets its rule
		set(mxtest.Rule{Name: "mx1.e.test"})
		asked("www.e.test", mx.TypeA, "192.0.2.1, by mx1.e.test for 1m0s")
		set(mxtest.Rule{Fault: mxtest.Refused})
		asked("www.e.test", mx.TypeMX, "refused")
		set(mxtest.Rule{})
		asked("f.test", mx.TypeA, "no such name") // a rule for all that changes nothing
	})
	t.Run("what is alike", func(t *testing.T) {
		d := &mxtest.DNS{Zone: wireZone, Rules: []mxtest.Rule{{Name: "e.test", Fault: mxtest.Refused}}}
		for _, other := range []mxtest.Rule{{Name: "*.e.test"}, {Name: "e.test", Transport: "tcp"}, {Name: "e.test", Type: mx.TypeA}} {
			if err := d.Set(other); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Resolve(t.Context(), "e.test", mx.TypeMX); err == nil {
				t.Errorf("%+v takes the place of a rule for other questions", other)
			}
		}
		if err := d.Set(mxtest.Rule{Name: "E.test."}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Resolve(t.Context(), "e.test", mx.TypeMX); err != nil {
			t.Errorf("%v after the rule has been replaced", err)
		}
	})
}

func TestTimesCountsEachQuestion(t *testing.T) {
	d := &mxtest.DNS{Zone: wireZone, Rules: []mxtest.Rule{{Fault: mxtest.Refused, Times: 1}}}
	for _, name := range []string{"mx1.e.test", "e.test"} {
		for _, typ := range []mx.Type{mx.TypeA, mx.TypeMX} {
			for i, refused := range []bool{true, false} {
				if _, err := d.Resolve(t.Context(), name, typ); (err != nil) != refused {
					t.Errorf("%v of %s, time %d: %v, want refused %v", typ, name, i+1, err, refused)
				}
			}
		}
	}
}

func TestSetZone(t *testing.T) {
	d := &mxtest.DNS{Zone: wireZone}
	if err := d.SetZone("e.test. 9 MX 1 other.test."); err != nil {
		t.Fatal(err)
	}
	if got := brief(d.Resolve(t.Context(), "e.test", mx.TypeMX)); got != "1 other.test. for 9s" {
		t.Errorf("answer is %q, want the new zone's", got)
	}
	if err := d.SetZone("e.test. MX"); err == nil {
		t.Error("a bad zone is taken")
	}
	if got := brief(d.Resolve(t.Context(), "e.test", mx.TypeMX)); got != "1 other.test. for 9s" {
		t.Errorf("after a bad zone the answer is %q, want it unchanged", got)
	}
}

func TestServerDelays(t *testing.T) {
	const delay = 30 * time.Millisecond
	server := start(t, &mxtest.Server{DNS: &mxtest.DNS{Zone: wireZone, Rules: []mxtest.Rule{{Delay: delay}}}})
	for _, tcp := range []bool{false, true} {
		client := &mx.Client{Servers: []mx.Server{{Addr: server.Addr()}}, TCPOnly: tcp}
		began := time.Now()
		if _, err := client.Resolve(t.Context(), "e.test", mx.TypeMX); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < delay {
			t.Errorf("TCP %v: the answer took %v, want at least %v", tcp, took, delay)
		}
	}
}

func TestSigned(t *testing.T) {
	d := &mxtest.DNS{
		Zone: `
			a.in.test    CNAME b.out.test.
			b.out.test   CNAME c.in.test.
			c.in.test    A     192.0.2.1
			d.in.test    CNAME c.in.test.
			e.out.test   CNAME c.in.test.
			f.in.test    CNAME g.out.test.
			g.out.test   A     192.0.2.2
			no.in.test   A     192.0.2.3
			x.no.in.test A     192.0.2.4`,
		Signed: map[string]bool{"in.test": true, "NO.in.test.": false},
	}
	for name, want := range map[string]bool{
		"c.in.test": true, "d.in.test": true, "a.in.test": false, "e.out.test": false, "f.in.test": false, "g.out.test": false,
		"no.in.test": false, "x.no.in.test": false, "absent.in.test": true, "absent.test": false, "in.test": true, "begin.test": false,
	} {
		a, err := d.Resolve(t.Context(), name, mx.TypeA)
		if err != nil || a.Secure != want {
			t.Errorf("%s is secure: %v, %v; want %v", name, a.Secure, err, want)
		}
		links := mx.SecurityUnknown
		if want {
			links = mx.Secure
		}
		for _, alias := range a.Aliases {
			if alias.Secure != links {
				t.Errorf("alias %+v of %s: want it %v, as the answer has it", alias, name, links)
			}
		}
	}
	for name, want := range map[string]mx.Security{"e.out.test": mx.Insecure, "a.in.test": mx.Secure, "b.out.test": mx.Insecure} {
		if a, err := d.Resolve(t.Context(), name, mx.TypeCNAME); err != nil || a.Aliases[0].Secure != want {
			t.Errorf("the alias of %s by itself is %v, %v; want it %v", name, a.Aliases, err, want)
		}
	}
	d.SetSigned("g.out.test", true)
	if a, err := d.Resolve(t.Context(), "f.in.test", mx.TypeA); err != nil || !a.Secure {
		t.Errorf("signed from now on, and secure is %v, %v", a.Secure, err)
	}
	if a, err := d.Resolve(t.Context(), "f.in.test", mx.TypeCNAME); err != nil || !a.Secure || a.Name != "g.out.test" {
		t.Errorf("the alias by itself is %+v, %v", a, err)
	}
}

func TestValidatingFakeKnowsEachLink(t *testing.T) {
	d := &mxtest.DNS{
		Zone:   "a.in.test CNAME b.out.test.\nb.out.test CNAME c.in.test.\nc.in.test A 192.0.2.1",
		Signed: map[string]bool{"in.test": true}, Validates: true,
	}
	want := []mx.Alias{{From: "a.in.test", To: "b.out.test", Secure: mx.Secure}, {From: "b.out.test", To: "c.in.test", Secure: mx.Insecure}}
	a, err := d.Resolve(t.Context(), "a.in.test", mx.TypeA)
	if err != nil || a.Secure || !slices.Equal(a.Aliases, want) {
		t.Errorf("the aliases are %v, %v; want %v", a.Aliases, err, want)
	}
}

func TestFakeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &mxtest.DNS{
			Zone: "$ORIGIN e.test.\nalias CNAME slow\nslow A 192.0.2.7",
			Rules: []mxtest.Rule{
				{Name: "slow.e.test", Delay: 3 * time.Second},
				{Name: "alias.e.test", Delay: time.Second},
				{Name: "never.e.test", Fault: mxtest.Timeout},
				{Name: "late.e.test", Delay: time.Minute},
			},
		}
		for _, test := range []struct {
			name string
			want string
			wait time.Duration
		}{
			{"slow.e.test", "192.0.2.7 for 5m0s", 3 * time.Second},
			{"alias.e.test", "192.0.2.7, by slow.e.test for 5m0s", 4 * time.Second},
			{"never.e.test", "error: A of never.e.test: timeout", 5 * time.Second},
			{"late.e.test", "error: A of late.e.test: timeout", 5 * time.Second},
		} {
			began := time.Now()
			if got := brief(d.Resolve(t.Context(), test.name, mx.TypeA)); got != test.want || time.Since(began) != test.wait {
				t.Errorf("%s: %q after %v, want %q after %v", test.name, got, time.Since(began), test.want, test.wait)
			}
		}
		for name, want := range map[string]time.Duration{"": time.Second, "*": 2 * time.Second, "*.e.test": 2 * time.Second} {
			every := &mxtest.DNS{Zone: wireZone, Rules: []mxtest.Rule{{Name: name, Delay: time.Second}}}
			began := time.Now()
			if _, err := every.Resolve(t.Context(), "www.e.test", mx.TypeA); err != nil || time.Since(began) != want {
				t.Errorf("a rule for %q made an alias take %v, %v; want %v", name, time.Since(began), err, want)
			}
		}
		began := time.Now()
		short := &mxtest.DNS{Timeout: time.Millisecond, Rules: []mxtest.Rule{{Fault: mxtest.Garbage}}}
		if got := brief(short.Resolve(t.Context(), "a.test", mx.TypeA)); !strings.Contains(got, "timeout") || time.Since(began) != time.Millisecond {
			t.Errorf("%q after %v, want a timeout after 1ms", got, time.Since(began))
		}
	})
}
