package session

import (
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// TestClassicHandshake is a handshake that fails, when it is made once more in the form of
// older clients, and what is told and remembered of that.
func TestClassicHandshake(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	wrong := errors.New("wrong")
	modern := func(h *tls.ClientHelloInfo) bool { return slices.Contains(h.SupportedCurves, tls.X25519MLKEM768) }
	mindsModern := func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if modern(h) {
			return nil, wrong
		}
		return nil, nil
	}
	mindsAll := func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, wrong }
	for _, c := range []struct {
		name   string
		ours   *tls.Config
		theirs func(*tls.ClientHelloInfo) (*tls.Config, error)
		cue    smtptest.Cue
		verify func(tls.ConnectionState) error
		judge  bool
		probe  bool
		ok     bool
		told   []string
		lacks  smtp.Option
	}{
		{name: "it succeeds", theirs: mindsModern, ok: true, told: []string{"connect", "connect"}, lacks: smtp.OptModern},
		{name: "it succeeds, and is judged once", theirs: mindsModern, judge: true, ok: true, told: []string{"connect", "connect", "decided D"}, lacks: smtp.OptModern},
		{name: "it succeeds in a probe", theirs: mindsModern, probe: true, ok: true, told: []string{"connect", "connect"}, lacks: smtp.OptModern},
		{name: "it fails as well", theirs: mindsAll, told: []string{"connect", "connect"}},
		{name: "it fails as well, and is judged once", theirs: mindsAll, judge: true, told: []string{"connect", "connect", "decided D"}},
		{name: "the host speaks no TLS", cue: smtptest.Cue{At: smtptest.Handshake, Raw: "HTTP/1.1 400 Bad Request\r\n\r\n"}, told: []string{"connect"}},
		{name: "the certificate is refused", verify: func(tls.ConnectionState) error { return io.EOF }, told: []string{"connect"}},
		{name: "the operator says what is offered", theirs: mindsAll, ours: &tls.Config{
			CurvePreferences: []tls.CurveID{tls.X25519}, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		}, told: []string{"connect"}},
		{name: "it fails once TLS is there", cue: smtptest.Cue{At: smtptest.HelloTLS, Reply: "421 4.3.2 later"}, theirs: mindsModern, told: []string{"connect", "connect"}, lacks: smtp.OptModern},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net, p := resuming(t, ca)
				host := net.Servers["192.0.2.1"].(*smtptest.Host)
				host.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
				host.TLS.GetConfigForClient = c.theirs
				if c.cue.At != 0 {
					host.Script = []smtptest.Cue{c.cue}
				}
				if c.ours != nil {
					c.ours.RootCAs = p.TLSConfig.RootCAs
					p.TLSConfig = c.ours
				}
				o := &witness{}
				h := &Hop{
					Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"),
					Policy: &Policy{Level: mx.TLSEncrypt, ServerName: "mx.e.test", Verify: c.verify},
				}
				if c.verify != nil {
					h.Policy.Level = mx.TLSVerify
				}
				if c.judge {
					h.Policy.Judge = func(*Handshake) Judgement { return Judgement{Decision: "D"} }
				}
				var err error
				if c.probe {
					_, _, err = p.Probe(t.Context(), h, o)
				} else {
					var s *Session
					if s, err = p.Fresh(t.Context(), h, o); err == nil {
						p.Keep(s)
					}
				}
				if (err == nil) != c.ok || follows(err) {
					t.Errorf("the error is %v", err)
				}
				told := slices.DeleteFunc(o.told, func(s string) bool { return s == "connected true" || s == `secured 1 by ""` || s == `secured 3 by ""` })
				if !slices.Equal(told, c.told) {
					t.Errorf("told %q, want %q", told, c.told)
				}
				if got := p.Memory.Without(h.Addr, time.Now()); got != c.lacks || h.Without != c.lacks {
					t.Errorf("it is known to lack %v, and the report says %v; want %v", got, h.Without, c.lacks)
				}
				net.Close()
				p.Close()
			})
		})
	}
}

// TestKeptSessionInPlaceOfTheSecond: if a session from before becomes free when the second
// connection should be made, it is used as it is, and nothing was left out there. What the
// host may lack is left out at the next connection.
func TestKeptSessionInPlaceOfTheSecond(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		net, p := resuming(t, ca)
		p.MaxIdle, p.TLSConfig.SessionTicketsDisabled = 1, true
		gate := NewGate(func() Limits {
			return Limits{Connections: 2, PerSite: 2, PerHost: 2, PerAddress: 2, ConnectionLife: time.Hour}
		})
		hop := func() *Hop {
			h := &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: &Policy{Level: mx.TLSEncrypt}, Gate: gate, Site: "a"}
			h.Without = p.Memory.Without(h.Addr, time.Now())
			return h
		}
		before, err := p.Fresh(t.Context(), hop(), silent{})
		if err != nil {
			t.Fatal(err)
		}
		net.Servers["192.0.2.1"].(*smtptest.Host).TLS.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			if !slices.Contains(h.SupportedCurves, tls.X25519MLKEM768) {
				return nil, nil
			}
			gate.join(&pass{gate: gate, site: "a", host: "mx.e.test", addr: netip.MustParseAddr("192.0.2.1")}, key{host: "another"}) // takes the place
			time.AfterFunc(time.Second, func() { p.Keep(before) })
			return nil, errors.New("not this one")
		}
		h := hop()
		s, err := p.Fresh(t.Context(), h, silent{})
		if err != nil || s != before || h.Without != 0 {
			t.Errorf("%v, the kept session: %t, without %v", err, s == before, h.Without)
		}
		p.Keep(s)
		if next := hop(); next.Without != smtp.OptModern {
			t.Errorf("the next connection is without %v", next.Without)
		}
		net.Close()
		p.Close()
	})
}
