package session

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestTicketsAreBounded: past the bound the one that was used longest ago goes.
func TestTicketsAreBounded(t *testing.T) {
	var list tickets
	now := time.Now()
	of := func(i int) identity { return identity{host: "mx", policy: string(rune(i))} }
	state := &tls.ClientSessionState{}
	for i := range 3 * maxTickets {
		list.put(of(i), state, now)
		if remembered(&list, of(0), now) == nil {
			t.Fatalf("one that is in use has gone when there were %d", i)
		}
		if n := len(list.known); n > maxTickets || n != list.order.Len() {
			t.Fatalf("%d are remembered, in order %d", n, list.order.Len())
		}
	}
	if len(list.known) != maxTickets || remembered(&list, of(3*maxTickets-1), now) == nil || remembered(&list, of(1), now) != nil {
		t.Errorf("%d are remembered, and not the latest", len(list.known))
	}
	list.refuse(identity{host: "other"}, now)
	if len(list.known) != maxTickets {
		t.Errorf("%d with one that is not to be resumed", len(list.known))
	}
}

// remembered is what would be resumed.
func remembered(list *tickets, of identity, now time.Time) *tls.ClientSessionState {
	state, _ := list.get(of, now)
	return state
}

// TestTicketsInUse: what is remembered anew is not what goes next, and nothing is remembered
// of a host that has offered nothing.
func TestTicketsInUse(t *testing.T) {
	var list tickets
	now, state := time.Now(), &tls.ClientSessionState{}
	of := func(i int) identity { return identity{host: "mx", policy: string(rune(i))} }
	list.put(of(0), nil, now)
	if len(list.known) != 0 {
		t.Error("no session is remembered as one")
	}
	for i := range maxTickets {
		list.put(of(i), state, now)
	}
	list.put(of(0), state, now)
	list.refuse(of(1), now)
	for i := range maxTickets - 2 {
		list.put(of(maxTickets+i), state, now)
	}
	if list.known[of(0)] == nil || list.known[of(1)] == nil || list.known[of(2)] != nil {
		t.Error("another one has gone than the one that was used longest ago")
	}
}

// TestTicketsInTime: what a whole handshake has shown is good for a day, whatever was resumed
// meanwhile, and what was refused is offered again after an hour.
func TestTicketsInTime(t *testing.T) {
	var list tickets
	of, state, now := identity{host: "mx"}, &tls.ClientSessionState{}, time.Now()
	list.put(of, state, now)
	for i := range 24 {
		at := now.Add(time.Duration(i) * time.Hour)
		got, since := list.get(of, at)
		if got != state || !since.Equal(now) {
			t.Fatalf("not resumed after %v, or since %v", at.Sub(now), since)
		}
		list.put(of, state, since)
	}
	now = now.Add(24 * time.Hour)
	if remembered(&list, of, now) != nil {
		t.Error("resumed after a day")
	}
	list.put(of, state, now)
	list.refuse(of, now)
	list.put(of, state, now) // by a connection that ends later
	if remembered(&list, of, now.Add(time.Hour-1)) != nil || remembered(&list, of, now.Add(time.Hour)) != state {
		t.Error("not offered again after an hour, and not before")
	}
	list.put(of, nil, now)
	if remembered(&list, of, now.Add(time.Hour)) != nil {
		t.Error("what was forgotten is resumed")
	}
}

// TestTicketsThatComeLate: a host may offer a session whenever it likes, and on several
// connections. Each is as old as the whole handshake behind it, not as the last one with
// the host.
func TestTicketsThatComeLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := &tls.ClientSessionState{}
		handshake := func(p *Pool, resumed bool) *resumption {
			h := &Hop{Host: &mx.Host{Name: "mx.e.test"}, Policy: &Policy{Level: mx.TLSEncrypt}}
			config := p.resuming(&p.tickets, h, &Session{})
			if offered, ok := h.resumption.Get(""); ok != resumed || ok && offered == nil {
				t.Fatalf("offered: %t, want %t", ok, resumed)
			}
			if err := config.VerifyConnection(tls.ConnectionState{DidResume: resumed}); err != nil {
				t.Fatal(err)
			}
			return h.resumption
		}
		for _, c := range []struct {
			name string
			do   func(p *Pool)
		}{
			{"on a connection that was open all day", func(p *Pool) {
				long := handshake(p, false)
				<-time.After(23 * time.Hour)
				long.Put("", state)
			}},
			{"on one that was resumed all the while", func(p *Pool) {
				handshake(p, false).Put("", state)
				<-time.After(23 * time.Hour)
				handshake(p, true).Put("", state)
			}},
			{"after another connection had a whole handshake", func(p *Pool) {
				first := handshake(p, false)
				first.Put("", state)
				first = handshake(p, true)
				<-time.After(23 * time.Hour)
				p.tickets.put(first.of, nil, time.Now())
				handshake(p, false).Put("", state)
				first.Put("", state)
			}},
		} {
			p := new(Pool)
			c.do(p)
			handshake(p, true)
			<-time.After(time.Hour)
			handshake(p, false)
		}
	})
}

// TestTicketsByIdentity: TLS is resumed where the same is demanded as was before, and not
// where any of it is another.
func TestTicketsByIdentity(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := ca.Certificate("from.test")
	if err != nil {
		t.Fatal(err)
	}
	other := ours
	base := func() (*mx.Host, *Policy, string) {
		return &mx.Host{Name: "mx.e.test"}, &Policy{Level: mx.TLSEncrypt, ServerName: "mx.e.test", Key: "k", Certificate: &ours}, "192.0.2.1:25"
	}
	for name, change := range map[string]func(h *mx.Host, p *Policy, addr *string){
		"nothing":                  func(*mx.Host, *Policy, *string) {},
		"the domain":               func(_ *mx.Host, p *Policy, _ *string) { p.Domain, p.Basis = "d.test", "b" },
		"the host":                 func(h *mx.Host, _ *Policy, _ *string) { h.Name = "mx2.e.test" },
		"the address":              func(_ *mx.Host, _ *Policy, addr *string) { *addr = "192.0.2.2:25" },
		"the level":                func(_ *mx.Host, p *Policy, _ *string) { p.Level = mx.TLSMay },
		"the name":                 func(_ *mx.Host, p *Policy, _ *string) { p.ServerName = "mx9.e.test" },
		"the key of the policy":    func(_ *mx.Host, p *Policy, _ *string) { p.Key = "l" },
		"the least version":        func(_ *mx.Host, p *Policy, _ *string) { p.MinVersion = tls.VersionTLS13 },
		"our certificate":          func(_ *mx.Host, p *Policy, _ *string) { p.Certificate = &other },
		"our certificate, none":    func(_ *mx.Host, p *Policy, _ *string) { p.Certificate = nil },
		"that of a login":          func(h *mx.Host, _ *Policy, _ *string) { h.Login = &smarthost.Login{Certificate: &other} },
		"that of a login, as well": func(h *mx.Host, _ *Policy, _ *string) { h.Login = &smarthost.Login{Certificate: &ours} },
	} {
		t.Run("SMTP-43 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net, p := resuming(t, ca)
				connect := func(h *mx.Host, policy *Policy, addr string) bool {
					s, err := p.Fresh(t.Context(), &Hop{Host: h, Addr: netip.MustParseAddrPort(addr), Policy: policy}, &witness{})
					if err != nil {
						t.Fatal(err)
					}
					p.Keep(s)
					return s.TLS().DidResume
				}
				host, policy, addr := base()
				if connect(host, policy, addr) {
					t.Fatal("the first is resumed")
				}
				host, policy, addr = base()
				change(host, policy, &addr)
				host.ImplicitTLS = false
				want := name == "nothing" || name == "the domain" || name == "that of a login, as well"
				if host.Login != nil {
					host.Login, policy.Certificate = nil, host.Login.(*smarthost.Login).Certificate
				}
				if got := connect(host, policy, addr); got != want {
					t.Errorf("resumed: %t, want %t", got, want)
				}
				net.Close()
				p.Close()
			})
		})
	}
}

// resuming is a pool that keeps no session, and hosts with tickets that it can connect to.
func resuming(t *testing.T, ca *smtptest.Authority) (*smtptest.Network, *Pool) {
	t.Helper()
	certificate, err := ca.Certificate("mx.e.test")
	if err != nil {
		t.Fatal(err)
	}
	host := &smtptest.Host{Name: "mx.e.test", Extensions: []string{"STARTTLS"}, TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	host.TLS.SetSessionTicketKeys([][32]byte{{1}})
	net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": host, "192.0.2.2": host}}
	p := &Pool{Config: Config{Hello: "from.test", Dial: net.DialContext, MaxIdle: -1, TLSConfig: ca.ClientConfig()}}
	return net, p
}

// TestCertificatesOfResumedSessions: what a check says of a session that was resumed is of
// the certificates of before. If it is against the host, there is a whole handshake; if that
// was one, there is no other.
func TestCertificatesOfResumedSessions(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	for _, c := range []struct {
		name   string
		policy Policy
		judge  func(h *Handshake) Judgement
		newKey bool // the host cannot resume what it has made
		error  bool
		conns  int // for the second session
		told   int // of them
	}{
		{"the policy's source minds, of what was resumed", Policy{Level: mx.TLSEncrypt}, func(h *Handshake) Judgement {
			if h.State.DidResume {
				return Judgement{Err: no, Decision: "no"}
			}
			return Judgement{Decision: "D"}
		}, false, false, 2, 1},
		{"it minds, of what is now", Policy{Level: mx.TLSEncrypt}, func(h *Handshake) Judgement {
			if h.Now.Minute() != 0 {
				return Judgement{Err: no, Decision: "D"}
			}
			return Judgement{Decision: "D"}
		}, false, true, 2, 1},
		{"it minds, of what is now, and nothing was resumed", Policy{Level: mx.TLSEncrypt}, func(h *Handshake) Judgement {
			if h.Now.Minute() != 0 {
				return Judgement{Err: no, Decision: "D"}
			}
			return Judgement{Decision: "D"}
		}, true, true, 1, 1},
		{"it minds nothing", Policy{Level: mx.TLSEncrypt}, func(*Handshake) Judgement { return Judgement{Decision: "D"} }, false, false, 1, 1},
		{"a check minds, of what was resumed", Policy{Level: mx.TLSVerify, Verify: func(s tls.ConnectionState) error {
			if s.DidResume {
				return no
			}
			return nil
		}}, nil, false, false, 2, 0},
	} {
		t.Run("TLS-5 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net, p := resuming(t, ca)
				o := &witness{}
				c.policy.Judge = c.judge
				fresh := func() error {
					s, err := p.Fresh(t.Context(), &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: &c.policy}, o)
					if s != nil {
						p.Keep(s)
					}
					return err
				}
				if err := fresh(); err != nil {
					t.Fatal(err)
				}
				if c.newKey {
					net.Servers["192.0.2.1"].(*smtptest.Host).TLS.SetSessionTicketKeys([][32]byte{{2}})
				}
				o.told = nil
				<-time.After(time.Minute)
				if err := fresh(); (err != nil) != c.error || err != nil && !errors.Is(err, no) {
					t.Error(err)
				}
				said := strings.Join(o.told, "; ")
				if conns, told := strings.Count(said, "connect;"), strings.Count(said, "decided D"); conns != c.conns || told != c.told || strings.Contains(said, "decided no") {
					t.Errorf("%d connections, told of %d, want %d and %d: %s", conns, told, c.conns, c.told, said)
				}
				net.Close()
				p.Close()
			})
		})
	}
}

// TestVerifiedSessionsAreVerifiedAgain: a session that is resumed at the level verify is
// checked against the roots of now.
func TestVerifiedSessionsAreVerifiedAgain(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	other, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		net, p := resuming(t, ca)
		policy := &Policy{Level: mx.TLSVerify, ServerName: "mx.e.test"}
		for i, roots := range []*smtptest.Authority{ca, ca, other} {
			p.TLSConfig = roots.ClientConfig()
			s, err := p.Fresh(t.Context(), &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: policy}, &witness{})
			if trusted := roots == ca; (err == nil) != trusted || trusted && s.TLS().DidResume != (i == 1) {
				t.Errorf("connection %d: %v", i, err)
			}
			if s != nil {
				p.Keep(s)
			}
		}
		net.Close()
		p.Close()
	})
}

// TestSenderThatGivesUp: a connection that ends because nobody wants it any more says nothing
// about tickets.
func TestSenderThatGivesUp(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		net, p := resuming(t, ca)
		net.Servers["192.0.2.1"].(*smtptest.Host).Script = []smtptest.Cue{{At: smtptest.Handshake, Conn: 2, Delay: time.Minute}}
		resumed := ""
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			s, err := p.Fresh(ctx, &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: &Policy{Level: mx.TLSMay}}, &witness{})
			switch {
			case err != nil:
				resumed += "-"
			case s.TLS().DidResume:
				resumed += "r"
			default:
				resumed += "f"
			}
			if s != nil {
				p.Keep(s)
			}
			cancel()
		}
		if resumed != "f-f" && resumed != "f-r" {
			t.Errorf("%s", resumed)
		}
		if k := remembered(&p.tickets, identity{host: "mx.e.test", addr: netip.MustParseAddrPort("192.0.2.1:25"), level: mx.TLSMay}, time.Now()); k == nil {
			t.Error("TLS is not resumed any more")
		}
		net.Close()
		p.Close()
	})
}
