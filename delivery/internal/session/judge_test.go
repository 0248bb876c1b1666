package session

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// judged notes what a source of policies is told, in words.
func judged(h *Handshake) string {
	text := fmt.Sprintf("%s at %v from %t, offered %t", h.Host, h.Addr, h.Local.IsValid(), h.Offered)
	switch {
	case h.State != nil:
		text += fmt.Sprintf(", TLS with %d certificates", len(h.State.PeerCertificates))
	case errors.Is(h.Err, errLeftOut):
		text += ", left out"
	case h.Err != nil:
		text += ", broken"
	}
	if h.Unparsable {
		text += ", unparsable"
	}
	return text
}

// TestJudge is what a policy's source is told of a connection, and what comes of what it
// says.
func TestJudge(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	starttls := []string{"STARTTLS"}
	no := errors.New("no")
	broken := []smtptest.Cue{{At: smtptest.Handshake, Then: smtptest.Close}}
	at := "mx.e.test at 192.0.2.1:25 from true, "
	bad, err := ca.Certificate("mx.e.test")
	if err != nil {
		t.Fatal(err)
	}
	der := slices.Clone(bad.Certificate[0])
	der[strings.Index(string(der), "\xa0\x03\x02\x01\x02")+4] = 9 // the version
	unparsed := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: bad.PrivateKey}}}
	for _, c := range []struct {
		name     string
		host     *smtptest.Host
		implicit bool
		policy   Policy
		without  smtp.Option
		says     Judgement
		told     string // of the handshake
		secured  Protection
		refused  error // by a Refusal with that cause
		err      error // without one
	}{
		{name: "no STARTTLS", policy: Policy{Level: mx.TLSMay}, told: at + "offered false", secured: Protection{Level: mx.TLSNone}},
		{name: "no STARTTLS, refused", policy: Policy{Level: mx.TLSMay}, says: Judgement{Err: no}, told: at + "offered false", refused: ErrNoTLS},
		{name: "no STARTTLS where it is required", policy: Policy{Level: mx.TLSEncrypt}, told: at + "offered false", err: ErrNoTLS},
		{name: "TLS that is left out", host: &smtptest.Host{Extensions: starttls}, policy: Policy{Level: mx.TLSMay}, without: smtp.OptTLS, told: at + "offered true, left out", secured: Protection{Level: mx.TLSNone}},
		{name: "TLS that breaks", host: &smtptest.Host{Extensions: starttls, Script: broken}, policy: Policy{Level: mx.TLSMay}, told: at + "offered true, broken", err: &smtp.Error{}},
		{name: "TLS that breaks, refused", host: &smtptest.Host{Extensions: starttls, Script: broken}, policy: Policy{Level: mx.TLSEncrypt}, says: Judgement{Err: no}, told: at + "offered true, broken", refused: &smtp.Error{}},
		{name: "a certificate that cannot be parsed", host: &smtptest.Host{Extensions: starttls, TLS: unparsed}, policy: Policy{Level: mx.TLSEncrypt}, says: Judgement{Err: no}, told: at + "offered true, broken, unparsable", refused: &smtp.Error{}},
		{name: "STARTTLS that is refused, and the source does not mind", host: &smtptest.Host{Extensions: starttls, Script: []smtptest.Cue{{At: smtptest.StartTLS, Reply: "454 later"}}}, policy: Policy{Level: mx.TLSMay}, told: at + "offered true, broken", secured: Protection{Level: mx.TLSNone}},
		{name: "STARTTLS that is refused, and the source minds", host: &smtptest.Host{Extensions: starttls, Script: []smtptest.Cue{{At: smtptest.StartTLS, Reply: "454 later"}}}, policy: Policy{Level: mx.TLSMay}, says: Judgement{Err: no}, told: at + "offered true, broken", refused: ErrNoTLS},
		{name: "TLS", host: &smtptest.Host{Extensions: starttls}, policy: Policy{Level: mx.TLSMay}, told: at + "offered true, TLS with 2 certificates", secured: Protection{Level: mx.TLSEncrypt}},
		{name: "TLS, refused", host: &smtptest.Host{Extensions: starttls}, policy: Policy{Level: mx.TLSMay}, says: Judgement{Err: no}, told: at + "offered true, TLS with 2 certificates", refused: no},
		{name: "TLS that authenticates", host: &smtptest.Host{Extensions: starttls}, policy: Policy{Level: mx.TLSVerify, Source: "other"}, says: Judgement{Authenticated: true, Source: "dane"}, told: at + "offered true, TLS with 2 certificates", secured: Protection{mx.TLSVerify, "dane"}},
		{name: "TLS that authenticates where it need not", host: &smtptest.Host{Extensions: starttls}, policy: Policy{Level: mx.TLSMay}, says: Judgement{Authenticated: true, Source: "dane"}, told: at + "offered true, TLS with 2 certificates", secured: Protection{mx.TLSVerify, "dane"}},
		{name: "a level that wants more, and a certificate that gives it", host: &smtptest.Host{Name: "mx.e.test", Extensions: starttls, Authority: ca}, policy: Policy{Level: mx.TLSVerify, ServerName: "mx.e.test", Source: "other"}, told: at + "offered true, TLS with 2 certificates", secured: Protection{Level: mx.TLSVerify}},
		{name: "a level that wants more, and a certificate for others", host: &smtptest.Host{Name: "mx9.e.test", Extensions: starttls, Authority: ca}, policy: Policy{Level: mx.TLSVerify, ServerName: "mx.e.test"}, told: at + "offered true, TLS with 2 certificates", err: errOtherNames},
		{name: "a level that wants more, and a check of the policy's", host: &smtptest.Host{Extensions: starttls}, policy: Policy{Level: mx.TLSVerify, Verify: func(tls.ConnectionState) error { return no }}, told: at + "offered true, TLS with 2 certificates", err: no},
		{name: "TLS from the start", implicit: true, host: &smtptest.Host{ImplicitTLS: true}, policy: Policy{Level: mx.TLSEncrypt}, told: at + "offered true, TLS with 2 certificates", secured: Protection{Level: mx.TLSEncrypt}},
		{name: "TLS from the start that breaks", implicit: true, host: &smtptest.Host{}, policy: Policy{Level: mx.TLSEncrypt}, says: Judgement{Err: no}, told: at + "offered true, broken", refused: &smtp.Error{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.host == nil {
					c.host = &smtptest.Host{}
				}
				net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": c.host}}
				defer net.Close()
				later := time.Now().Add(time.Hour)
				p, o := &Pool{}, &witness{}
				p.Hello, p.Dial = "from.test", net.DialContext
				p.TLSConfig = ca.ClientConfig()
				p.TLSConfig.Time = func() time.Time { return later }
				var told []string
				c.says.Decision = "D"
				c.policy.Judge = func(h *Handshake) Judgement {
					told = append(told, judged(h))
					if h.Roots != p.TLSConfig.RootCAs || !h.Now.Equal(later) {
						t.Errorf("roots %v, at %v", h.Roots, h.Now)
					}
					return c.says
				}
				h := &Hop{Host: &mx.Host{Name: "mx.e.test", ImplicitTLS: c.implicit}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: &c.policy, Without: c.without}
				s, err := p.Fresh(t.Context(), h, o)
				if !slices.Equal(told, []string{c.told}) || !slices.Contains(o.told, "decided D") || h.Judged.Decision != "D" {
					t.Errorf("told %q, want %q; the observer %q", told, c.told, o.told)
				}
				refusal, refused := errors.AsType[*Refusal](err)
				switch {
				case s != nil:
					if s.Protection != c.secured || c.refused != nil || c.err != nil {
						t.Errorf("%v, %v", s.Protection, err)
					}
					p.Keep(s)
				case c.refused != nil:
					if !refused || !errors.Is(err, no) || refusal.Decision != "D" || err.Error() != "no" {
						t.Errorf("%v is no refusal by the source", err)
					}
					_, dialogue := errors.AsType[*smtp.Error](err)
					if _, want := c.refused.(*smtp.Error); want != (dialogue && !Distrusted(err)) && c.refused != no || !want && !errors.Is(err, c.refused) { //nolint:errorlint // the kind of expectation
						t.Errorf("%v, want %v", err, c.refused)
					}
					if Distrusted(err) != (c.refused == no) {
						t.Errorf("%v: distrusted %t", err, Distrusted(err))
					}
				case c.err != nil:
					_, dialogue := errors.AsType[*smtp.Error](err)
					if _, want := c.err.(*smtp.Error); refused || want && !dialogue || !want && !errors.Is(err, c.err) { //nolint:errorlint // likewise
						t.Errorf("%v, want %v", err, c.err)
					}
				default:
					t.Error(err)
				}
				p.Close()
			})
		})
	}
}

// TestToldOnce: a connection in clear that follows one whose TLS broke is not told of, for
// it is the same, and one in clear by itself is.
func TestToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &smtptest.Host{Extensions: []string{"STARTTLS"}, Script: []smtptest.Cue{{At: smtptest.Handshake, Then: smtptest.Close}}}
		net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": host}}
		defer net.Close()
		p, o := &Pool{Config: Config{Hello: "from.test", Dial: net.DialContext, MaxIdle: -1}}, &witness{}
		policy := &Policy{Level: mx.TLSMay, Judge: func(*Handshake) Judgement { return Judgement{Decision: "D"} }}
		hop := func() *Hop {
			return &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: policy}
		}
		count := func() (n int) {
			for _, s := range o.told {
				if s == "decided D" {
					n++
				}
			}
			return n
		}
		h := hop()
		if _, err := p.Fresh(t.Context(), h, o); err == nil || count() != 1 {
			t.Fatalf("%v, told %q", err, o.told)
		}
		h.Without = smtp.OptTLS
		s, err := p.Fresh(t.Context(), h, o)
		if err != nil || count() != 1 {
			t.Fatalf("%v, told %q", err, o.told)
		}
		p.Keep(s)
		h = hop()
		h.Without = smtp.OptTLS
		if s, err = p.Fresh(t.Context(), h, o); err != nil || count() != 2 {
			t.Fatalf("%v, told %q", err, o.told)
		}
		p.Keep(s)
		p.Close()
	})
}

// TestJudgedAgain: a kept session is judged by the policy of the message that takes it up,
// once for each basis and domain, and is ended where that refuses it.
func TestJudgedAgain(t *testing.T) {
	for _, extensions := range [][]string{nil, {"STARTTLS"}} {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: extensions}
			net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": host}}
			defer net.Close()
			p := &Pool{Config: Config{Hello: "from.test", Dial: net.DialContext}}
			calls, seen := 0, ""
			use := func(basis, domain string, refuse, judges bool) (reused bool, decision any) {
				t.Helper()
				policy := &Policy{Level: mx.TLSMay, Basis: basis, Domain: domain}
				if judges {
					policy.Judge = func(h *Handshake) Judgement {
						calls++
						seen = judged(h)
						j := Judgement{Decision: domain + " by " + basis}
						if refuse && calls == 1 {
							j.Err = errors.New("no")
						}
						return j
					}
				}
				h := &Hop{Host: &mx.Host{Name: "mx.e.test"}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: policy}
				calls = 0
				s := p.Kept(h, silent{})
				if reused = s != nil; !reused {
					if h.Judged != (Judgement{}) {
						t.Errorf("what a session was judged that was ended: %+v", h.Judged)
					}
					var err error
					if s, err = p.Fresh(t.Context(), h, silent{}); err != nil {
						t.Fatal(err)
					}
				}
				p.Keep(s)
				return reused, h.Judged.Decision
			}
			want := at(extensions)
			for i, c := range []struct {
				basis, domain  string
				refuse, judges bool
				reused         bool
				calls          int
			}{
				{"", "", false, false, false, 0}, // nobody judges the first
				{"x", "a.test", false, true, true, 1},
				{"x", "a.test", false, true, true, 0},
				{"y", "a.test", false, true, true, 1},
				{"y", "b.test", false, true, true, 1},
				{"", "", false, false, true, 0},
				{"y", "b.test", false, true, true, 0},
				{"z", "b.test", true, true, false, 2}, // refused, and then a new one that is not
				{"z", "b.test", false, true, true, 0},
			} {
				reused, decision := use(c.basis, c.domain, c.refuse, c.judges)
				var said any
				if c.judges {
					said = c.domain + " by " + c.basis
				}
				if reused != c.reused || calls != c.calls || decision != said {
					t.Errorf("%d: reused %t, judged %d times, %v; want %t, %d, %v", i, reused, calls, decision, c.reused, c.calls, said)
				}
				if c.calls == 1 && seen != want {
					t.Errorf("%d: seen %q, want %q", i, seen, want)
				}
			}
			p.Close()
		})
	}
}

// at is what a session of before shows.
func at(extensions []string) string {
	if extensions == nil {
		return "mx.e.test at 192.0.2.1:25 from true, offered false"
	}
	return "mx.e.test at 192.0.2.1:25 from true, offered true, TLS with 2 certificates"
}

// TestProbe makes a connection up to the login, says QUIT, and is in nobody's way.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &smtptest.Host{Extensions: []string{"STARTTLS", "AUTH PLAIN"}, Users: map[string]string{"u": "p"}}
		net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": host}}
		defer net.Close()
		p := &Pool{Config: Config{Hello: "from.test", Dial: net.DialContext}}
		full := NewGate(func() Limits { return Limits{} })
		h := &Hop{Host: &mx.Host{Name: "mx.e.test", Login: &smarthost.Login{User: "u", Password: "p"}}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: &Policy{Level: mx.TLSEncrypt}, Gate: full}
		protection, state, err := p.Probe(t.Context(), h, silent{})
		if err != nil || protection.Level != mx.TLSEncrypt || state == nil {
			t.Errorf("%v, %v, %v", protection, state, err)
		}
		p.Close()
		if said := host.Commands(); !slices.Contains(said, "QUIT") || slices.ContainsFunc(said, func(l string) bool { return strings.HasPrefix(l, "AUTH") }) {
			t.Errorf("%q", said)
		}
		h.Addr = netip.MustParseAddrPort("192.0.2.2:25")
		if protection, state, err = p.Probe(t.Context(), h, silent{}); err == nil || state != nil || protection != (Protection{}) {
			t.Errorf("%v, %v, %v", protection, state, err)
		}
	})
}

// TestKeysOfJudgedSessions: what a policy's key says counts wherever there is TLS.
func TestKeysOfJudgedSessions(t *testing.T) {
	judge := func(*Handshake) Judgement { return Judgement{} }
	hop := func(level mx.TLSLevel, name, key string, judged bool, without smtp.Option) keyOf {
		p := &Policy{Level: level, ServerName: name, Key: key}
		if judged {
			p.Judge = judge
		}
		return keyOf((&Hop{Host: &mx.Host{Name: "mx"}, Policy: p, Without: without}).key())
	}
	for _, c := range []struct {
		name string
		a, b keyOf
		same bool
	}{
		{"a key of one that is judged", hop(mx.TLSEncrypt, "n", "k", true, 0), hop(mx.TLSEncrypt, "n", "l", true, 0), false},
		{"a name of one that is judged", hop(mx.TLSEncrypt, "n", "k", true, 0), hop(mx.TLSEncrypt, "m", "k", true, 0), false},
		{"none, judged or not", hop(mx.TLSEncrypt, "n", "", true, 0), hop(mx.TLSEncrypt, "m", "", false, 0), true},
		{"a key that nobody judges by", hop(mx.TLSEncrypt, "n", "k", false, 0), hop(mx.TLSEncrypt, "n", "l", false, 0), true},
		{"in clear", hop(mx.TLSMay, "n", "k", true, smtp.OptTLS), hop(mx.TLSMay, "n", "l", true, smtp.OptTLS), true},
	} {
		if (c.a == c.b) != c.same {
			t.Errorf("%s: the same is %t", c.name, !c.same)
		}
	}
	a, b := Policy{Basis: "a"}, Policy{Basis: "b"}
	if a.Serves(&b) || !a.Serves(&a) {
		t.Error("mail under policies of different bases goes together")
	}
	if r := (&Refusal{Judgement: Judgement{Err: ErrSelf}}); !errors.Is(r, ErrSelf) || r.Error() != ErrSelf.Error() {
		t.Errorf("%v", r)
	}
}

type keyOf key

// TestPoliciesThatDiffer: mail under policies that ask for other things, or show another
// certificate, goes in other transactions, and by other sessions where there is TLS.
func TestPoliciesThatDiffer(t *testing.T) {
	base, ours := Policy{Level: mx.TLSEncrypt, Key: "a"}, &tls.Certificate{}
	for name, change := range map[string]func(p *Policy){
		"version": func(p *Policy) { p.MinVersion = tls.VersionTLS13 }, "certificate": func(p *Policy) { p.Certificate = ours },
	} {
		a, b := base, base
		change(&b)
		if a.Serves(&b) {
			t.Errorf("%s: one serves the other", name)
		}
		change(&a)
		a.Key = "b"
		host := &mx.Host{Name: "mx"}
		if (&Hop{Host: host, Policy: &a}).key() == (&Hop{Host: host, Policy: &b}).key() {
			t.Errorf("%s: one session for both keys", name)
		}
	}
	got := new(Config).tlsConfig(&Hop{Host: &mx.Host{Name: "mx"}, Policy: &Policy{MinVersion: tls.VersionTLS13}}, nil)
	if got.MinVersion != tls.VersionTLS13 {
		t.Errorf("least version %x", got.MinVersion)
	}
	if list := (&Refusal{Judgement: Judgement{Err: ErrSelf}}).Unwrap(); len(list) != 1 {
		t.Errorf("%v", list)
	}
	if roots, now := new(Config).checking(); roots != nil || time.Since(now) > time.Minute {
		t.Errorf("%v, %v", roots, now)
	}
	if unparsable(ErrSelf) || unparsable(&smtp.Error{}) {
		t.Error("an error of another kind passes for a certificate that cannot be parsed")
	}
}
