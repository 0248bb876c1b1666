package session

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// TestHostsThatFailToResume: a host that fails once TLS was resumed has mail under TLS all
// the same, at every level and wherever the failure shows: on another connection, whose
// handshake is whole. For an hour nothing is resumed there.
func TestHostsThatFailToResume(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("not resumed here")
	second := func(at smtptest.Stage, then smtptest.Then) []smtptest.Cue {
		return []smtptest.Cue{{At: at, Conn: 2, Then: then}}
	}
	for _, c := range []struct {
		name     string
		implicit bool
		version  uint16
		mind     bool // the host minds that a session was resumed
		script   []smtptest.Cue
	}{
		{name: "in the handshake", version: tls.VersionTLS12, mind: true},
		{name: "after the client's last word in it", version: tls.VersionTLS13, mind: true},
		{name: "in TLS from the start", implicit: true, version: tls.VersionTLS12, mind: true},
		{name: "in TLS from the start, after the client's last word", implicit: true, version: tls.VersionTLS13, mind: true},
		{name: "by closing the connection before it says anything", version: tls.VersionTLS13, script: second(smtptest.HelloTLS, smtptest.Close)},
		{name: "by a reset before it says anything", version: tls.VersionTLS13, script: second(smtptest.HelloTLS, smtptest.Reset)},
		{name: "by silence", version: tls.VersionTLS13, script: []smtptest.Cue{{At: smtptest.HelloTLS, Conn: 2, Delay: time.Hour}}},
		{name: "by closing the connection in place of a greeting", implicit: true, version: tls.VersionTLS13, script: second(smtptest.Banner, smtptest.Close)},
	} {
		for _, level := range []mx.TLSLevel{mx.TLSMay, mx.TLSEncrypt, mx.TLSVerify} {
			if c.implicit && level == mx.TLSMay {
				continue
			}
			t.Run(c.name+", "+level.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					net, p := resuming(t, ca)
					host := net.Servers["192.0.2.1"].(*smtptest.Host)
					host.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
					host.ImplicitTLS, host.Script, host.TLS.MaxVersion = c.implicit, c.script, c.version
					if c.implicit {
						host.Extensions = nil
					}
					if c.mind {
						host.TLS.VerifyConnection = func(s tls.ConnectionState) error {
							if s.DidResume {
								return refused
							}
							return nil
						}
					}
					connect := func() (resumed bool, connections int) {
						t.Helper()
						o := &witness{}
						h := &Hop{
							Host: &mx.Host{Name: "mx.e.test", ImplicitTLS: c.implicit}, Addr: netip.MustParseAddrPort("192.0.2.1:25"),
							Policy: &Policy{Level: level, ServerName: "mx.e.test"},
						}
						s, err := p.Fresh(t.Context(), h, o)
						if err != nil {
							t.Fatal(err)
						}
						if !s.Encrypted() {
							t.Fatal("in clear")
						}
						resumed = s.TLS().DidResume
						p.Keep(s)
						for _, line := range o.told {
							if line == "connect" {
								connections++
							}
						}
						return resumed, connections
					}
					if _, n := connect(); n != 1 {
						t.Errorf("%d connections for the first session", n)
					}
					if resumed, n := connect(); resumed || n != 2 {
						t.Errorf("resumed %t, in %d connections, want a whole handshake in the second", resumed, n)
					}
					<-time.After(notResumed - time.Minute)
					if resumed, n := connect(); resumed || n != 1 {
						t.Errorf("resumed %t, in %d connections, want a whole handshake at once", resumed, n)
					}
					<-time.After(time.Minute)
					if resumed, _ := connect(); resumed == c.mind {
						t.Errorf("resumed after an hour: %t", resumed)
					}
					net.Close()
					p.Close()
				})
			})
		}
	}
}

// TestFailuresThatNoTicketCaused: if nothing was resumed, or the host has said something
// inside TLS, its failure is as it is without tickets.
func TestFailuresThatNoTicketCaused(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		implicit bool
		newKey   bool // the host cannot resume what it has made
		cue      smtptest.Cue
		doubt    smtp.Option // at once
	}{
		{"refused inside TLS", false, false, smtptest.Cue{At: smtptest.HelloTLS, Reply: "421 4.3.2 later"}, 0},
		{"refused in the greeting inside TLS", true, false, smtptest.Cue{At: smtptest.Banner, Reply: "421 4.3.2 later"}, 0},
		{"lost after the greeting inside TLS", true, false, smtptest.Cue{At: smtptest.Hello, Then: smtptest.Close}, 0},
		{"lost after a whole handshake", false, true, smtptest.Cue{At: smtptest.HelloTLS, Then: smtptest.Close}, smtp.OptTLS},
		{"lost before TLS", false, false, smtptest.Cue{At: smtptest.Hello, Then: smtptest.Close}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net, p := resuming(t, ca)
				host := net.Servers["192.0.2.1"].(*smtptest.Host)
				host.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
				c.cue.Conn = 2
				host.ImplicitTLS, host.Script = c.implicit, []smtptest.Cue{c.cue}
				if c.implicit {
					host.Extensions = nil
				}
				o := &witness{}
				h := &Hop{Host: &mx.Host{Name: "mx.e.test", ImplicitTLS: c.implicit}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: &Policy{Level: mx.TLSEncrypt}}
				s, err := p.Fresh(t.Context(), h, o)
				if err != nil {
					t.Fatal(err)
				}
				p.Keep(s)
				if c.newKey {
					host.TLS.SetSessionTicketKeys([][32]byte{{2}})
				}
				o.told = nil
				_, err = p.Fresh(t.Context(), h, o) // with what the first connection has left in h
				se, ok := errors.AsType[*smtp.Error](err)
				if !ok || errors.Is(err, errNotResumed) || se.Doubt.Now != c.doubt || slices.Index(o.told[1:], "connect") > 0 {
					t.Errorf("%v, told %q", err, o.told)
				}
				net.Close()
				p.Close()
			})
		})
	}
}

// TestProbesShowTheHostOfNow: a connection that is to show what a host has now is not
// resumed, and its failure is the host's.
func TestProbesShowTheHostOfNow(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		net, p := resuming(t, ca)
		host := net.Servers["192.0.2.1"].(*smtptest.Host)
		host.Script = []smtptest.Cue{{At: smtptest.Handshake, Conn: 3, Then: smtptest.Close}, {At: smtptest.Handshake, Conn: 4, Then: smtptest.Close}}
		h := &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: &Policy{Level: mx.TLSEncrypt}}
		s, err := p.Fresh(t.Context(), h, silent{})
		if err != nil {
			t.Fatal(err)
		}
		p.Keep(s)
		if _, state, err := p.Probe(t.Context(), h, silent{}); err != nil || state.DidResume {
			t.Errorf("%v, or resumed", err)
		}
		if _, _, err := p.Probe(t.Context(), h, silent{}); err == nil || errors.Is(err, errNotResumed) {
			t.Errorf("%v, want what is wrong with the host", err)
		}
		net.Close()
		p.Close()
	})
}

// TestToldOfOneHandshake: a source of policies is not told of a handshake that a ticket may
// have broken, but of the one that follows.
func TestToldOfOneHandshake(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		net, p := resuming(t, ca)
		net.Servers["192.0.2.1"].(*smtptest.Host).Script = []smtptest.Cue{{At: smtptest.Handshake, Conn: 2, Then: smtptest.Close}}
		o := &witness{}
		for range 2 {
			o.told = nil
			policy := &Policy{Level: mx.TLSMay, Judge: func(h *Handshake) Judgement { return Judgement{Decision: h.Err == nil} }}
			s, err := p.Fresh(t.Context(), &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: policy}, o)
			if err != nil {
				t.Fatal(err)
			}
			p.Keep(s)
		}
		if want := []string{"connect", "connected true", "connect", "connected true", "decided true", `secured 3 by ""`}; !slices.Equal(o.told, want) {
			t.Errorf("told %q, want %q", o.told, want)
		}
		net.Close()
		p.Close()
	})
}

// TestSecondConnectionThatFails: if the connection that follows a session that was resumed
// in vain cannot be made, nothing is known of the host, whatever was said of that session.
func TestSecondConnectionThatFails(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		net, p := resuming(t, ca)
		policy := &Policy{Level: mx.TLSEncrypt, Judge: func(h *Handshake) Judgement {
			if h.State.DidResume {
				net.Close()
				return Judgement{Err: errors.New("no"), Decision: "D"}
			}
			return Judgement{Decision: "D"}
		}}
		hop := func() *Hop {
			return &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: policy}
		}
		s, err := p.Fresh(t.Context(), hop(), silent{})
		if err != nil {
			t.Fatal(err)
		}
		p.Keep(s)
		h := hop()
		_, err = p.Fresh(t.Context(), h, silent{})
		if ours, ok := errors.AsType[*Error](err); !ok || ours.Step != Dialling || h.Judged != (Judgement{}) {
			t.Errorf("%v, judged %+v", err, h.Judged)
		}
		p.Close()
	})
}

// TestChecksOfTheApplication: what the application checks of a certificate, in either form,
// is checked of a resumed session as well, and once of each connection.
func TestChecksOfTheApplication(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	for _, older := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			net, p := resuming(t, ca)
			calls, leaves := 0, 0
			no := errors.New("no")
			check := func(raw [][]byte) error {
				calls++
				if len(raw) > 0 && len(raw[0]) > 0 {
					leaves++
				}
				if time.Now().Minute() != 0 {
					return no
				}
				return nil
			}
			if older {
				p.TLSConfig.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error { return check(raw) }
			} else {
				p.TLSConfig.VerifyConnection = func(s tls.ConnectionState) error { return check([][]byte{s.PeerCertificates[0].Raw}) }
			}
			fresh := func() (resumed bool, err error) {
				h := &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: &Policy{Level: mx.TLSMay}}
				calls, leaves = 0, 0
				s, err := p.Fresh(t.Context(), h, silent{})
				if err != nil {
					return false, err
				}
				defer p.Keep(s)
				return s.TLS().DidResume, nil
			}
			for i, resumed := range []bool{false, true} {
				if got, err := fresh(); err != nil || got != resumed || calls != 1 || leaves != 1 {
					t.Errorf("older form %t, connection %d: resumed %t, checked %d times: %v", older, i, got, calls, err)
				}
			}
			<-time.After(time.Minute)
			// The resumed session is refused, and then the whole handshake.
			if _, err := fresh(); !errors.Is(err, no) || !Distrusted(err) || calls != 2 || leaves != 2 {
				t.Errorf("older form %t: %v, checked %d times, want two", older, err, calls)
			}
			net.Close()
			p.Close()
		})
	}
}
