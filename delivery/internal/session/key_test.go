package session

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// demand is what the caller of a Pool asks for.
type demand struct {
	host     string
	addr     netip.AddrPort
	source   netip.Addr
	implicit bool
	login    *smarthost.Login
	without  smtp.Option
	level    mx.TLSLevel
	name     string
	policy   string
	version  uint16
	shown    *tls.Certificate
	judged   bool
	byDNS    bool
}

func (a *demand) hop() *Hop {
	h := &Hop{
		Host: &mx.Host{Name: a.host, ImplicitTLS: a.implicit}, Addr: a.addr, Source: a.source, Without: a.without, Named: !a.byDNS,
		Policy: &Policy{Level: a.level, ServerName: a.name, Key: a.policy, MinVersion: a.version, Certificate: a.shown},
	}
	if a.login != nil {
		h.Host.Login = a.login
	}
	if a.judged {
		h.Policy.Judge = func(*Handshake) Judgement { return Judgement{} }
	}
	return h
}

// inClear reports whether no TLS is wanted.
func (a *demand) inClear() bool {
	return a.level == mx.TLSNone || a.level == mx.TLSMay && a.without&smtp.OptTLS != 0
}

// inEffect is a without what makes no difference to a session: in clear, all that is said
// of TLS, and where no certificate is checked, whom it is to be for.
func (a demand) inEffect() demand {
	inClear := a.inClear()
	if a.without &= smtp.OptEHLO; inClear {
		a.level, a.name, a.policy, a.version, a.shown, a.judged = mx.TLSNone, "", "", 0, nil, false
		return a
	}
	checked := a.level >= mx.TLSVerify || a.judged && a.policy != ""
	if !checked {
		a.name = ""
		if a.version == 0 && a.shown == nil {
			a.policy = ""
		}
	}
	a.judged = false // whoever judges is asked again
	return a
}

// TestSessionsByWhatWasAsked: of all that callers can ask for, two share a session if what
// they ask for is the same in effect, and not otherwise.
func TestSessionsByWhatWasAsked(t *testing.T) {
	login := &smarthost.Login{User: "u", Password: "p"}
	equal := *login
	var all []demand
	each := func(change ...func(a *demand)) {
		if all == nil {
			all = []demand{{host: "mx.e.test", addr: netip.MustParseAddrPort("192.0.2.1:25"), name: "n"}}
		}
		var more []demand
		for _, a := range all {
			for _, f := range change {
				b := a
				f(&b)
				more = append(more, b)
			}
		}
		all = more
	}
	same := func(*demand) {}
	each(same, func(a *demand) { a.host = "mx2.e.test" })
	each(same, func(a *demand) { a.addr = netip.MustParseAddrPort("192.0.2.2:25") }, func(a *demand) { a.addr = netip.MustParseAddrPort("192.0.2.1:587") })
	each(same, func(a *demand) { a.source = netip.MustParseAddr("198.51.100.1") })
	each(same, func(a *demand) { a.login = login }, func(a *demand) { a.login = &equal })
	each(same, func(a *demand) { a.without = smtp.OptEHLO }, func(a *demand) { a.without = smtp.OptTLS | smtp.OptSize })
	each(
		func(a *demand) { a.level = mx.TLSNone }, func(a *demand) { a.level = mx.TLSMay }, func(a *demand) { a.level = mx.TLSEncrypt },
		func(a *demand) { a.level = mx.TLSVerify }, func(a *demand) { a.level, a.implicit = mx.TLSEncrypt, true },
	)
	each(same, func(a *demand) { a.name = "m" })
	each(same, func(a *demand) { a.policy = "k" }, func(a *demand) { a.policy = "l" })
	each(same, func(a *demand) { a.version = tls.VersionTLS13 })
	each(same, func(a *demand) { a.shown = &tls.Certificate{} }, func(a *demand) { a.shown = &tls.Certificate{} })
	each(same, func(a *demand) { a.judged = true })
	keys, effects := make(map[key]demand), make(map[demand]key)
	for _, a := range all {
		k, effect := a.hop().key(), a.inEffect()
		if other, ok := keys[k]; ok && other != effect {
			t.Fatalf("one session for %+v and %+v", a, other)
		}
		if other, ok := effects[effect]; ok && other != k {
			t.Fatalf("two sessions for %+v", effect)
		}
		keys[k], effects[effect] = effect, k
	}
	if len(keys) != len(effects) || len(keys) < 100 {
		t.Errorf("%d keys for %d kinds of sessions", len(keys), len(effects))
	}
	if size := unsafe.Sizeof(key{}); size > 128 {
		t.Errorf("a key has %d octets, and costs an allocation beyond 128", size)
	}
}

// TestKeptForWhoAskedForIt: a kept session goes to who asks for the same, and stays for
// that one if somebody asks for anything else.
func TestKeptForWhoAskedForIt(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	login := &smarthost.Login{User: "u", Password: "p"}
	equal, other := *login, &smarthost.Login{User: "v", Password: "p"}
	base := demand{host: "mx.e.test", addr: netip.MustParseAddrPort("192.0.2.1:25"), name: "mx.e.test", level: mx.TLSVerify, policy: "k", login: login}
	for name, change := range map[string]func(a *demand){
		"another name of the host": func(a *demand) { a.host = "mx2.e.test" },
		"another address":          func(a *demand) { a.addr = netip.MustParseAddrPort("192.0.2.2:25") },
		"another port":             func(a *demand) { a.addr = netip.MustParseAddrPort("192.0.2.1:587") },
		"another source":           func(a *demand) { a.source = netip.MustParseAddr("198.51.100.1") },
		"TLS from the start":       func(a *demand) { a.implicit = true },
		"another login":            func(a *demand) { a.login = other },
		"an equal login":           func(a *demand) { a.login = &equal },
		"no login":                 func(a *demand) { a.login = nil },
		"HELO":                     func(a *demand) { a.without = smtp.OptEHLO },
		"a lower level":            func(a *demand) { a.level = mx.TLSEncrypt },
		"no TLS":                   func(a *demand) { a.level = mx.TLSNone },
		"a certificate for others": func(a *demand) { a.name = "mx2.e.test" },
		"another policy":           func(a *demand) { a.policy = "l" },
		"a least version":          func(a *demand) { a.version = tls.VersionTLS13 },
		"a certificate of ours":    func(a *demand) { a.shown = &tls.Certificate{} },
		"a host that DNS names":    func(a *demand) { a.byDNS = true },
	} {
		t.Run("SMTP-43 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Name: "mx.e.test", Extensions: []string{"STARTTLS", "AUTH PLAIN"}, Users: map[string]string{"u": "p"}, Authority: ca}
				net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": host}}
				defer net.Close()
				p := &Pool{Config: Config{Hello: "from.test", Dial: net.DialContext, TLSConfig: ca.ClientConfig()}}
				s, err := p.Fresh(t.Context(), base.hop(), silent{})
				if err != nil {
					t.Fatal(err)
				}
				p.Keep(s)
				a := base
				change(&a)
				if p.Kept(a.hop(), silent{}) != nil {
					t.Error("it was used")
				}
				again := p.Kept(base.hop(), silent{})
				if again != s {
					t.Fatal("it was not used for the same")
				}
				p.Keep(again)
				p.Close()
			})
		})
	}
}

// TestWhatAuthenticatedForOthers: a kept session whose host is authenticated for the mail
// of one domain is worth to another what its own policy says, and if that is not enough the
// session is ended.
func TestWhatAuthenticatedForOthers(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	proves := func(*Handshake) Judgement {
		return Judgement{Authenticated: true, Source: "dane", Decision: "A"}
	}
	knows := func(*Handshake) Judgement { return Judgement{Decision: "B"} }
	no := errors.New("no")
	dane := Protection{mx.TLSVerify, "dane"}
	for _, c := range []struct {
		name    string
		trusted bool // the certificate is of a known authority
		level   mx.TLSLevel
		judge   func(*Handshake) Judgement
		verify  func(tls.ConnectionState) error
		worth   Protection // if zero, it is ended
	}{
		{"who proves nothing, and the usual check fails", false, mx.TLSVerify, knows, nil, Protection{}},
		{"who proves nothing, and the usual check passes", true, mx.TLSVerify, knows, nil, Protection{Level: mx.TLSVerify}},
		{"who proves nothing, and the policy's check fails", true, mx.TLSVerify, knows, func(tls.ConnectionState) error { return no }, Protection{}},
		{"who proves nothing, and the policy's check passes", false, mx.TLSVerify, knows, func(tls.ConnectionState) error { return nil }, Protection{Level: mx.TLSVerify}},
		{"nobody, and the usual check fails", false, mx.TLSVerify, nil, nil, Protection{}},
		{"nobody, and the usual check passes", true, mx.TLSVerify, nil, nil, Protection{mx.TLSVerify, "other"}},
		{"nobody, and encryption is enough", false, mx.TLSEncrypt, nil, nil, Protection{Level: mx.TLSEncrypt}},
		{"who proves nothing, and encryption is enough", false, mx.TLSEncrypt, knows, nil, Protection{Level: mx.TLSEncrypt}},
		{"who proves it as well", false, mx.TLSVerify, proves, nil, dane},
	} {
		t.Run("SMTP-43 judged by "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{Name: "mx.e.test", Extensions: []string{"STARTTLS"}}
				if c.trusted {
					host.Authority = ca
				}
				net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": host}}
				defer net.Close()
				p := &Pool{Config: Config{Hello: "from.test", Dial: net.DialContext, TLSConfig: ca.ClientConfig()}}
				hop := func(basis string, judge func(*Handshake) Judgement) *Hop {
					policy := &Policy{Level: c.level, ServerName: "mx.e.test", Basis: basis, Judge: judge, Source: "other"}
					if c.level == mx.TLSVerify {
						policy.Key = "k"
					}
					return &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: policy}
				}
				s, err := p.Fresh(t.Context(), hop("a", proves), silent{})
				if err != nil || s.Protection != dane {
					t.Fatal(err)
				}
				p.Keep(s)
				checks := 0
				for range 2 {
					h := hop("b", c.judge)
					if c.verify != nil {
						h.Policy.Verify = func(s tls.ConnectionState) error { checks++; return c.verify(s) }
					}
					kept := p.Kept(h, silent{})
					if kept == nil {
						time.Sleep(time.Second)
						if c.worth != (Protection{}) || net.Open() != 0 || h.Judged != (Judgement{}) {
							t.Errorf("not used; %d are open, judged %+v", net.Open(), h.Judged)
						}
						return
					}
					if kept != s || kept.Protection != c.worth {
						t.Fatalf("used as worth %+v, want %+v", kept.Protection, c.worth)
					}
					p.Keep(kept)
				}
				if c.verify != nil && checks != 1 {
					t.Errorf("the certificate of one session was checked %d times", checks)
				}
				if kept := p.Kept(hop("a", proves), silent{}); kept != s || kept.Protection != dane {
					t.Error("it is no longer worth to the first what it was")
				} else {
					p.Keep(kept)
				}
				p.Close()
			})
		})
	}
}

// TestCheckedOnce: a session that was verified when it was made is not verified again for
// mail under a policy with the same key.
func TestCheckedOnce(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		host := &smtptest.Host{Name: "mx.e.test", Extensions: []string{"STARTTLS"}, Authority: ca}
		net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": host}}
		defer net.Close()
		p := &Pool{Config: Config{Hello: "from.test", Dial: net.DialContext, TLSConfig: ca.ClientConfig()}}
		for _, judge := range []func(*Handshake) Judgement{nil, func(*Handshake) Judgement { return Judgement{Decision: "D"} }} {
			policy := &Policy{Level: mx.TLSVerify, ServerName: "mx.e.test", Judge: judge}
			h := &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: policy}
			s, err := p.Fresh(t.Context(), h, silent{})
			if err != nil {
				t.Fatal(err)
			}
			p.Keep(s)
			policy.Verify = func(tls.ConnectionState) error { t.Error("checked again"); return nil }
			if s = p.Kept(h, silent{}); s == nil {
				t.Fatal("not used again")
			}
			p.idle.end(s)
		}
		p.Close()
	})
}
