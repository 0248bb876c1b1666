package session

import (
	"context"
	"errors"
	stdnet "net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// TestJudgedLater: a source of policies that is asked about a kept session is told what a
// new one would have shown, and what the time is now.
func TestJudgedLater(t *testing.T) {
	starttls := []string{"STARTTLS"}
	greeting := []smtptest.Cue{{At: smtptest.HelloTLS, Reply: "250 inside.e.test"}}
	refuses := []smtptest.Cue{{At: smtptest.StartTLS, Reply: "454 later"}}
	for _, c := range []struct {
		name     string
		host     *smtptest.Host
		implicit bool
		without  smtp.Option
		judged   bool // when it was made
		offered  bool
		tls      bool
		err      func(error) bool
		helo     string
	}{
		{name: "in clear", helo: "mx.e.test", err: noError},
		{name: "in clear, judged before", judged: true, helo: "mx.e.test", err: noError},
		{name: "TLS left out", host: &smtptest.Host{Extensions: starttls}, without: smtp.OptTLS, offered: true, helo: "mx.e.test", err: leftOut},
		{name: "TLS left out, judged before", host: &smtptest.Host{Extensions: starttls}, without: smtp.OptTLS, judged: true, offered: true, helo: "mx.e.test", err: leftOut},
		{name: "TLS refused", host: &smtptest.Host{Extensions: starttls, Script: refuses}, offered: true, helo: "mx.e.test", err: leftOut},
		{name: "TLS refused, judged before", host: &smtptest.Host{Extensions: starttls, Script: refuses}, judged: true, offered: true, helo: "mx.e.test",
			err: func(err error) bool { _, ok := errors.AsType[*smtp.Error](err); return ok }},
		{name: "TLS", host: &smtptest.Host{Extensions: starttls, Script: greeting}, offered: true, tls: true, helo: "mx.e.test", err: noError},
		{name: "TLS, judged before", host: &smtptest.Host{Extensions: starttls, Script: greeting}, judged: true, offered: true, tls: true, helo: "mx.e.test", err: noError},
		{name: "TLS from the start", host: &smtptest.Host{ImplicitTLS: true}, implicit: true, offered: true, tls: true, err: noError},
		{name: "TLS from the start, judged before", host: &smtptest.Host{ImplicitTLS: true}, implicit: true, judged: true, offered: true, tls: true, err: noError},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.host == nil {
					c.host = &smtptest.Host{}
				}
				c.host.Name = "mx.e.test"
				net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": c.host}}
				defer net.Close()
				ca, err := smtptest.NewAuthority()
				if err != nil {
					t.Fatal(err)
				}
				p := &Pool{Config: Config{Hello: "from.test", Dial: net.DialContext, TLSConfig: ca.ClientConfig()}}
				p.TLSConfig.Time = nil
				var shown []Handshake
				hop := func(basis string, judged bool) *Hop {
					policy := &Policy{Level: mx.TLSMay, Basis: basis}
					if c.implicit {
						policy.Level = mx.TLSEncrypt
					}
					if judged {
						policy.Judge = func(h *Handshake) Judgement {
							shown = append(shown, *h)
							return Judgement{Decision: "D"}
						}
					}
					return &Hop{
						Host: &mx.Host{Name: "mx.e.test", ImplicitTLS: c.implicit}, Addr: netip.MustParseAddrPort("192.0.2.1:25"),
						Policy: policy, Without: c.without,
					}
				}
				made := time.Now()
				s, err := p.Fresh(t.Context(), hop("a", c.judged), silent{})
				if err != nil {
					t.Fatal(err)
				}
				p.Keep(s)
				basis := "" // one that has none is asked as well
				if c.judged {
					basis = "b"
				}
				for range 2 {
					time.Sleep(time.Second)
					s = p.Kept(hop(basis, true), silent{})
					if s == nil {
						t.Fatal("not used again")
					}
					if inClear := s.Protection == (Protection{Level: mx.TLSNone}); inClear == c.tls {
						t.Errorf("the session is worth %+v", s.Protection)
					}
					p.Keep(s)
				}
				want := 1
				if c.judged {
					want = 2
				}
				if len(shown) != want {
					t.Fatalf("judged %d times, want %d", len(shown), want)
				}
				for i, h := range shown {
					at := made
					if i == want-1 {
						at = made.Add(time.Second)
					}
					if h.Host != "mx.e.test" || h.Addr.String() != "192.0.2.1:25" || !h.Local.IsValid() || h.Helo != c.helo ||
						h.Offered != c.offered || (h.State != nil) != c.tls || h.Roots != p.TLSConfig.RootCAs || h.Now.Sub(at).Round(time.Second/10) != 0 {
						t.Errorf("judgement %d was of %+v", i, h)
					}
					if !c.err(h.Err) {
						t.Errorf("judgement %d was of the error %v", i, h.Err)
					}
				}
				p.Close()
			})
		})
	}
}

func noError(err error) bool { return err == nil }
func leftOut(err error) bool { return errors.Is(err, errLeftOut) }

// TestToldOfWhatChanged: if a connection follows one whose TLS broke, and finds another host
// than that, it is told of.
func TestToldOfWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &smtptest.Host{Extensions: []string{"STARTTLS"}, Script: []smtptest.Cue{
			{At: smtptest.Handshake, Conn: 1, Then: smtptest.Close},
			{At: smtptest.Handshake, Conn: 2, Then: smtptest.Close},
			{At: smtptest.Hello, Conn: 3, Reply: "250 mx.e.test"},
		}}
		net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": host}}
		defer net.Close()
		p, o := &Pool{Config: Config{Hello: "from.test", Dial: net.DialContext, MaxIdle: -1}}, &witness{}
		h := &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25")}
		h.Policy = &Policy{Level: mx.TLSMay, Judge: func(h *Handshake) Judgement { return Judgement{Decision: h.Offered} }}
		if _, err := p.Fresh(t.Context(), h, o); err == nil {
			t.Fatal("TLS has not broken")
		}
		h.Without, o.told = smtp.OptTLS, nil
		s, err := p.Fresh(t.Context(), h, o)
		if err != nil || len(o.told) != 4 || o.told[2] != "decided false" {
			t.Fatalf("%v, told %q", err, o.told)
		}
		p.Keep(s)
		p.Close()
	})
}

// elsewhere is a connection whose own address is not one of TCP.
type elsewhere struct{ stdnet.Conn }

func (elsewhere) LocalAddr() stdnet.Addr { return &stdnet.UnixAddr{Name: "/elsewhere"} }

// TestConnectionsFromElsewhere: a connection need not be of TCP. Then nothing is said of
// where it comes from.
func TestConnectionsFromElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": &smtptest.Host{}}}
		defer net.Close()
		p := &Pool{Config: Config{Hello: "from.test", Dial: func(ctx context.Context, network, address string) (stdnet.Conn, error) {
			conn, err := net.DialContext(ctx, network, address)
			return elsewhere{conn}, err
		}}}
		var local *netip.AddrPort
		policy := &Policy{Level: mx.TLSMay, Judge: func(h *Handshake) Judgement { local = &h.Local; return Judgement{} }}
		s, err := p.Fresh(t.Context(), &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: policy}, silent{})
		if err != nil || local == nil || local.IsValid() {
			t.Fatalf("%v, from %v", err, local)
		}
		p.Keep(s)
		p.Close()
	})
}
