package session

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// witness is an Observer that notes how a session came to be.
type witness struct {
	silent
	told  []string
	lines atomic.Int32
}

func (w *witness) Connect(string, netip.AddrPort) { w.told = append(w.told, "connect") }
func (w *witness) Connected(_ string, _ netip.AddrPort, err error) {
	w.told = append(w.told, fmt.Sprintf("connected %t", err == nil))
}
func (w *witness) Decided(decision any) { w.told = append(w.told, fmt.Sprint("decided ", decision)) }

func (w *witness) Secured(_ string, _ netip.AddrPort, p Protection) {
	w.told = append(w.told, fmt.Sprintf("secured %d by %q", p.Level, p.Source))
}
func (w *witness) Lines(string, netip.AddrPort) func(smtp.Line) {
	return func(smtp.Line) { w.lines.Add(1) }
}

// TestConnect is what becomes of a connection to every kind of host, and what is told
// of it. Where it comes to nothing its place is given back.
func TestConnect(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	starttls := []string{"STARTTLS"}
	inClear, encrypted, verified := Protection{Level: mx.TLSNone}, Protection{Level: mx.TLSEncrypt}, Protection{mx.TLSVerify, "mta-sts"}
	refused := errors.New("refused by a check")
	refuse := func(tls.ConnectionState) error { return refused }
	trusted := func(change func(c *tls.Config)) *tls.Config {
		c := ca.ClientConfig()
		if change != nil {
			change(c)
		}
		return c
	}
	name := Policy{Level: mx.TLSVerify, ServerName: "mx.e.test", Source: "mta-sts"}
	with := func(p Policy, level mx.TLSLevel, verify func(tls.ConnectionState) error) Policy {
		p.Level, p.Verify = level, verify
		return p
	}
	for _, c := range []struct {
		name     string
		host     *smtptest.Host
		to       mx.Host
		policy   Policy
		config   Config
		secured  Protection // if zero, it comes to nothing
		twice    bool       // it does on a second connection, too
		err      error
		step     Step // of an Error
		began    bool // whether it is an Error
		distrust bool
	}{
		{name: "in clear", policy: Policy{Level: mx.TLSMay}, secured: inClear},
		{name: "STARTTLS", host: &smtptest.Host{Extensions: starttls}, policy: with(name, mx.TLSMay, nil), secured: encrypted},
		{name: "STARTTLS that is left out", host: &smtptest.Host{Extensions: starttls}, policy: with(name, mx.TLSNone, nil), secured: inClear},
		{name: "STARTTLS that is refused", host: &smtptest.Host{Extensions: starttls, Script: []smtptest.Cue{{At: smtptest.StartTLS, Reply: "454 later"}}},
			policy: with(name, mx.TLSMay, nil), secured: inClear},
		{name: "STARTTLS that is refused where it is required", host: &smtptest.Host{Extensions: starttls, Script: []smtptest.Cue{{At: smtptest.StartTLS, Reply: "454 later"}}},
			policy: with(name, mx.TLSEncrypt, nil), err: &smtp.Error{}},
		{name: "STARTTLS that ends the session", host: &smtptest.Host{Extensions: starttls, Script: []smtptest.Cue{{At: smtptest.StartTLS, Reply: "421 bye"}}},
			policy: with(name, mx.TLSMay, nil), err: &smtp.Error{}},
		{name: "EHLO that is refused in TLS", host: &smtptest.Host{Extensions: starttls, Script: []smtptest.Cue{{At: smtptest.HelloTLS, Reply: "421 bye"}}},
			policy: with(name, mx.TLSMay, nil), err: &smtp.Error{}},
		{name: "no STARTTLS where it is required", policy: with(name, mx.TLSEncrypt, nil), err: ErrNoTLS},
		{name: "no STARTTLS where a certificate is required", policy: name, err: ErrNoTLS},
		{name: "STARTTLS where it is required", host: &smtptest.Host{Extensions: starttls}, policy: with(name, mx.TLSEncrypt, nil), secured: encrypted},
		{name: "TLS from the start", host: &smtptest.Host{ImplicitTLS: true, Extensions: starttls}, to: mx.Host{ImplicitTLS: true}, policy: with(name, mx.TLSEncrypt, nil), secured: encrypted},
		{name: "TLS from the start, and a host that is silent", to: mx.Host{ImplicitTLS: true},
			host:   &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Then: smtptest.Stall}}},
			policy: with(name, mx.TLSEncrypt, nil), err: &smtp.Error{Kind: smtp.Timeout}, twice: true},
		{name: "a certificate that is right", host: &smtptest.Host{Name: "mx.e.test", Extensions: starttls, Authority: ca}, policy: name,
			config: Config{TLSConfig: trusted(nil)}, secured: verified},
		{name: "a certificate that nobody trusts", host: &smtptest.Host{Name: "mx.e.test", Extensions: starttls}, policy: name,
			config: Config{TLSConfig: trusted(nil)}, err: &smtp.Error{Kind: smtp.BadTLS}, distrust: true},
		{name: "a certificate that a policy's check alone trusts", host: &smtptest.Host{Name: "mx.e.test", Extensions: starttls},
			policy: with(name, mx.TLSVerify, func(tls.ConnectionState) error { return nil }), secured: verified},
		{name: "a certificate that a policy's check refuses", host: &smtptest.Host{Name: "mx.e.test", Extensions: starttls, Authority: ca},
			policy: with(name, mx.TLSVerify, refuse), config: Config{TLSConfig: trusted(nil)}, err: refused, distrust: true},
		{name: "a policy's check where none is asked for", host: &smtptest.Host{Name: "mx.e.test", Extensions: starttls},
			policy: with(name, mx.TLSEncrypt, refuse), secured: encrypted},
		{name: "a check of the application's", host: &smtptest.Host{Name: "mx.e.test", Extensions: starttls}, policy: with(name, mx.TLSEncrypt, nil),
			config: Config{TLSConfig: trusted(func(c *tls.Config) { c.VerifyConnection = refuse })}, err: refused, distrust: true},
		{name: "a check of the application's, and of a policy that is content", host: &smtptest.Host{Name: "mx.e.test", Extensions: starttls},
			policy: with(name, mx.TLSVerify, func(tls.ConnectionState) error { return nil }),
			config: Config{TLSConfig: trusted(func(c *tls.Config) { c.VerifyConnection = refuse })}, err: refused, distrust: true},
		{name: "a check of a policy, and of an application that is content", host: &smtptest.Host{Name: "mx.e.test", Extensions: starttls},
			policy: with(name, mx.TLSVerify, refuse), err: refused, distrust: true,
			config: Config{TLSConfig: trusted(func(c *tls.Config) { c.VerifyConnection = func(tls.ConnectionState) error { return nil } })}},
		{name: "a check of the application's in the older form", host: &smtptest.Host{Name: "mx.e.test", Extensions: starttls}, policy: with(name, mx.TLSEncrypt, nil),
			config: Config{TLSConfig: trusted(func(c *tls.Config) {
				c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return refused }
			})}, err: refused, distrust: true},
		{name: "one in the older form that is content", host: &smtptest.Host{Name: "mx.e.test", Extensions: starttls}, policy: with(name, mx.TLSEncrypt, nil),
			config: Config{TLSConfig: trusted(func(c *tls.Config) {
				c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return nil }
			})}, secured: encrypted},
		{name: "a check of the application's alone, that is content", host: &smtptest.Host{Name: "mx.e.test", Extensions: starttls, Authority: ca}, policy: name,
			config: Config{TLSConfig: trusted(func(c *tls.Config) { c.VerifyConnection = func(tls.ConnectionState) error { return nil } })}, secured: verified},
		{name: "TLS from the start, and STARTTLS offered in it", to: mx.Host{ImplicitTLS: true}, policy: with(name, mx.TLSEncrypt, nil), secured: encrypted,
			host: &smtptest.Host{ImplicitTLS: true, Script: []smtptest.Cue{{At: smtptest.Hello, Raw: "250-mx.e.test\r\n250 STARTTLS\r\n"}}}},
		{name: "a host that is ourselves", host: &smtptest.Host{Name: "Self.test"}, policy: Policy{Level: mx.TLSMay}, config: Config{Self: []string{"other.test", "self.test."}}, err: ErrSelf},
		{name: "a host that is ourselves, with a dot", host: &smtptest.Host{Name: "self.test."}, policy: Policy{Level: mx.TLSMay}, config: Config{Self: []string{"self.test"}}, err: ErrSelf},
		{name: "a host that is not ourselves", host: &smtptest.Host{Name: "self.test"}, policy: Policy{Level: mx.TLSMay}, config: Config{Self: []string{"myself.test"}}, secured: inClear},
		{name: "a greeting that refuses", host: &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "554 no"}}}, policy: Policy{Level: mx.TLSMay}, err: &smtp.Error{}},
		{name: "EHLO and HELO that are refused", host: &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Hello, Reply: "554 no"}}}, policy: Policy{Level: mx.TLSMay}, err: &smtp.Error{}},
		{name: "a name that cannot be said", policy: Policy{Level: mx.TLSMay}, config: Config{Hello: "no name"}, began: true, step: Starting},
		{name: "an address that refuses", to: mx.Host{Port: 26}, policy: Policy{Level: mx.TLSMay}, began: true, step: Dialling},
		{name: "a login that fails", to: mx.Host{Login: &smarthost.Login{User: "u", Password: "p"}}, policy: Policy{Level: mx.TLSNone}, err: &loginError{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.host == nil {
					c.host = &smtptest.Host{}
				}
				net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": c.host}}
				defer net.Close()
				p, o := &Pool{Config: c.config}, &witness{}
				p.Dial = net.DialContext
				if p.Hello == "" {
					p.Hello = "from.test"
				}
				g := NewGate(func() Limits {
					return Limits{Connections: 1, PerSite: 1, PerHost: 1, PerAddress: 1, ConnectionLife: time.Hour}
				})
				c.to.Name = "mx.e.test"
				port := c.to.Port
				if port == 0 {
					port = 25
				}
				h := &Hop{Host: &c.to, Addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port), Policy: &c.policy, Gate: g, Site: "a"}
				s, err := p.Fresh(t.Context(), h, o)
				told := []string{"connect", fmt.Sprintf("connected %t", !c.began || c.step != Dialling)}
				if c.twice {
					told = append(told, told...)
				}
				done := c.secured != Protection{}
				if done {
					told = append(told, fmt.Sprintf("secured %d by %q", c.secured.Level, c.secured.Source))
				}
				if !slices.Equal(o.told, told) || o.lines.Load() == 0 != c.began && !c.to.ImplicitTLS {
					t.Errorf("told %q and of %d lines, want %q", o.told, o.lines.Load(), told)
				}
				var ours *Error
				if began := errors.As(err, &ours); began != c.began || began && ours.Step != c.step {
					t.Errorf("%v, want an Error: %t, of step %d", err, c.began, c.step)
				}
				switch want := c.err.(type) { //nolint:errorlint // the kind of expectation, not an error that came back
				case nil:
					if (err == nil) != done {
						t.Errorf("%v", err)
					}
				case *smtp.Error:
					if e, ok := errors.AsType[*smtp.Error](err); !ok || e.Kind != want.Kind {
						t.Errorf("%v, want an error of the dialogue, %v", err, want.Kind)
					}
				case *loginError:
					if !IsOwnLogin(err) {
						t.Errorf("%v, want a login that does not fit", err)
					}
				default:
					if !errors.Is(err, want) {
						t.Errorf("%v, want %v", err, want)
					}
				}
				if Distrusted(err) != c.distrust {
					t.Errorf("%v: distrusted is %t", err, !c.distrust)
				}
				if s != nil {
					p.Keep(s)
				}
				time.Sleep(time.Second)
				if open := g.Size(); (open > 0) != (s != nil) || net.Open() != open {
					t.Errorf("%d connections open, %d counted", net.Open(), open)
				}
				p.Close()
			})
		})
	}
}

// TestDial is how long a connection may take, and where it is dialled from.
func TestDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for given, want := range map[time.Duration]time.Duration{0: defaultConnectTimeout, -1: defaultConnectTimeout, time.Second: time.Second} {
			p := &Pool{Config: Config{Hello: "from.test", ConnectTimeout: given, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}}}
			began := time.Now()
			if _, err := p.Fresh(t.Context(), &Hop{Host: &mx.Host{}, Policy: &Policy{}}, silent{}); err == nil || time.Since(began) != want {
				t.Errorf("%v after %v, want an error after %v", err, time.Since(began), want)
			}
		}
	})
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := new(Config).dial(t.Context(), netip.MustParseAddrPort(l.Addr().String()), netip.MustParseAddr("127.0.0.2"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if from := conn.LocalAddr().String(); !strings.HasPrefix(from, "127.0.0.2:") {
		t.Errorf("dialled from %s, want 127.0.0.2", from)
	}
}

// TestSourceFor is which local address a message is sent from.
func TestSourceFor(t *testing.T) {
	parse := netip.MustParseAddr
	four, six := parse("192.0.2.1"), parse("2001:db8::1")
	c := &Config{Source: []netip.Addr{parse("198.51.100.1"), parse("198.51.100.2"), parse("2001:db8::2")}}
	seen := map[netip.Addr]bool{}
	for i := range 20 {
		pin := fmt.Sprint(i)
		seen[c.SourceFor(pin, four)], seen[c.SourceFor(pin, six)] = true, true
		first, second, other := c.SourceFor(pin, four), c.SourceFor(pin, four), c.SourceFor(pin, six)
		if first != second || !first.Is4() || !other.Is6() {
			t.Errorf("%s is sent from %v, %v and %v", pin, first, second, other)
		}
	}
	if len(seen) != 3 {
		t.Errorf("sent from %v alone", seen)
	}
	c.Source = c.Source[:2]
	if from := c.SourceFor("x", six); from.IsValid() {
		t.Errorf("sent from %v, want the choice to be the system's", from)
	}
}

// TestAddrPort is which port is dialled.
func TestAddrPort(t *testing.T) {
	ip := netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		port uint16
		host mx.Host
		want uint16
	}{
		{0, mx.Host{}, 25}, {2525, mx.Host{}, 2525}, {2525, mx.Host{ImplicitTLS: true}, 465}, {2525, mx.Host{ImplicitTLS: true, Port: 587}, 587}, {2525, mx.Host{Port: 587}, 587},
	} {
		if got := (&Config{Port: c.port}).AddrPort(&c.host, ip); got != netip.AddrPortFrom(ip, c.want) {
			t.Errorf("port %d of %+v: %v, want %d", c.port, c.host, got, c.want)
		}
	}
}

// TestOurs is which failures to connect say nothing about the host.
func TestOurs(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.EMFILE: true, context.Canceled: true, syscall.ECONNREFUSED: false, context.DeadlineExceeded: false, nil: false,
	} {
		if got := Ours(&net.OpError{Op: "dial", Err: err}); got != want {
			t.Errorf("%v is ours: %t", err, got)
		}
	}
}
