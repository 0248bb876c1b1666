package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// named is a login of a kind that nobody knows.
type named string

func (n named) LoginName() string { return string(n) }

// TestLoginOf is which logins a host may have.
func TestLoginOf(t *testing.T) {
	login := &smarthost.Login{User: "u"}
	for name, c := range map[string]struct {
		given mx.Login
		want  *smarthost.Login
		fails bool
	}{
		"none": {nil, nil, false}, "a login": {login, login, false}, "a login that is nil": {(*smarthost.Login)(nil), nil, true}, "another kind": {named("x"), nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := loginOf(&mx.Host{Login: c.given})
			if got != c.want || (err != nil) != c.fails || IsOwnLogin(err) != c.fails || IsLogin(err) != c.fails {
				t.Errorf("%v (%v), want %v", got, err, c.want)
			}
			_, err = new(Config).PolicyFor(t.Context(), &mx.Route{}, &mx.Host{Name: "mx.e.test", Login: c.given})
			if IsLogin(err) != c.fails {
				t.Errorf("the policy: %v, want it to fail: %t", err, c.fails)
			}
		})
	}
	token := fmt.Errorf("today: %w", &tokenError{errors.New("x")})
	if !IsLogin(token) || IsOwnLogin(token) || IsLogin(errors.New("x")) || IsLogin(nil) {
		t.Error("a token that is missing is a login that was not tried, for a reason that passes")
	}
}

// TestLevelOf is the level that is configured for a host.
func TestLevelOf(t *testing.T) {
	login := &smarthost.Login{User: "u"}
	for _, c := range []struct {
		name     string
		host     mx.Host
		sender   mx.TLSLevel
		want     mx.TLSLevel
		mistaken bool
	}{
		{"nothing is said", mx.Host{}, mx.TLSDefault, mx.TLSMay, false},
		{"the sender's", mx.Host{}, mx.TLSEncrypt, mx.TLSEncrypt, false},
		{"the host's", mx.Host{TLS: mx.TLSNone}, mx.TLSEncrypt, mx.TLSNone, false},
		{"a login", mx.Host{Login: login}, mx.TLSNone, mx.TLSVerify, false},
		{"a login in clear, by name", mx.Host{Login: login, TLS: mx.TLSNone}, mx.TLSEncrypt, mx.TLSNone, false},
		{"a login at may", mx.Host{Login: login, TLS: mx.TLSMay}, mx.TLSEncrypt, 0, true},
		{"TLS from the start", mx.Host{ImplicitTLS: true}, mx.TLSDefault, mx.TLSEncrypt, false},
		{"TLS from the start, and the sender wants none", mx.Host{ImplicitTLS: true}, mx.TLSNone, mx.TLSEncrypt, false},
		{"TLS from the start, verified", mx.Host{ImplicitTLS: true, TLS: mx.TLSVerify}, mx.TLSDefault, mx.TLSVerify, false},
		{"TLS from the start and none", mx.Host{ImplicitTLS: true, TLS: mx.TLSNone}, mx.TLSDefault, 0, true},
	} {
		t.Run("TLS-2 "+c.name, func(t *testing.T) {
			sender := &Config{TLS: c.sender}
			got, err := sender.levelFor(&c.host)
			if got != c.want || (err != nil) != c.mistaken {
				t.Errorf("%v (%v), want %v", got, err, c.want)
			}
			c.host.Name = "mx.e.test"
			asked, failed := sender.PolicyFor(t.Context(), &mx.Route{}, &c.host)
			configured, err := sender.Configured(t.Context(), &mx.Route{}, &c.host)
			if c.mistaken {
				if err == nil || failed == nil {
					t.Errorf("%v, %v; want two errors", err, failed)
				}
			} else if want := (Policy{Level: c.want, ServerName: "mx.e.test"}); configured.Level != want.Level || configured.ServerName != want.ServerName ||
				asked.Level != want.Level || asked.ServerName != want.ServerName {
				t.Errorf("%+v, %+v, want %+v", configured, asked, want)
			}
		})
	}
}

// TestPolicyFails: where the policy of a host cannot be learnt, there is none.
func TestPolicyFails(t *testing.T) {
	fails := errors.New("not now")
	c := &Config{Policy: func(context.Context, *mx.Route, *mx.Host) (Policy, error) { return Policy{Level: mx.TLSVerify}, fails }}
	if p, err := c.PolicyFor(t.Context(), &mx.Route{}, &mx.Host{Name: "mx.e.test"}); !errors.Is(err, fails) || p.Level != 0 {
		t.Errorf("%+v, %v; want %v", p, err, fails)
	}
}

// TestMechanismsInOrder is which mechanisms are left where some do not work.
func TestMechanismsInOrder(t *testing.T) {
	offered := []string{"SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"}
	for _, c := range []struct {
		name      string
		without   smtp.Option
		encrypted bool
		want      string
	}{
		{"all work", 0, true, "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"},
		{"one does not", smtp.OptScram, true, "CRAM-MD5 PLAIN LOGIN"},
		{"in clear the one that keeps the secret stays", smtp.OptScram, false, "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"},
		{"in clear one that hands it over does not", smtp.OptPlain, false, "SCRAM-SHA-256 CRAM-MD5 LOGIN"},
		{"none works", smtp.OptScram | smtp.OptCramMD5 | smtp.OptPlain | smtp.OptLogin, true, "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"},
	} {
		t.Run("EXT-20 "+c.name, func(t *testing.T) {
			if got := strings.Join(inOrder(offered, c.without, c.encrypted), " "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if len(offered) != 4 || !slices.Contains(offered, "PLAIN") {
				t.Error("what was offered has changed")
			}
		})
	}
}

// TestWantsOther is whether another mechanism is tried after one that came to nothing.
func TestWantsOther(t *testing.T) {
	code := func(n int) error {
		return fmt.Errorf("auth: %w", &smtp.Error{Kind: smtp.Replied, Reply: smtp.Reply{Code: n}})
	}
	for _, c := range []struct {
		name            string
		err             error
		mechanism, next string
		clear           bool
		want            bool
	}{
		{"the login does not fit it", &loginError{"x"}, "SCRAM-SHA-256", "PLAIN", true, true},
		{"it is not known", code(504), "SCRAM-SHA-256", "PLAIN", false, true},
		{"nor in clear", code(504), "SCRAM-SHA-256", "CRAM-MD5", true, true},
		{"not now", code(454), "SCRAM-SHA-256", "PLAIN", false, false},
		{"TLS first", code(530), "SCRAM-SHA-256", "PLAIN", false, false},
		{"the proof is refused, and the secret may do", code(535), "SCRAM-SHA-256", "PLAIN", false, true},
		{"the proof is refused in the other way", code(525), "CRAM-MD5", "LOGIN", false, true},
		{"not in clear", code(535), "SCRAM-SHA-256", "PLAIN", true, false},
		{"not another proof", code(535), "SCRAM-SHA-256", "CRAM-MD5", false, false},
		{"the secret is refused", code(535), "PLAIN", "LOGIN", false, false},
		{"the session is lost", &smtp.Error{Kind: smtp.Closed, Reply: smtp.Reply{Code: 504}}, "SCRAM-SHA-256", "PLAIN", false, false},
	} {
		t.Run("EXT-20 "+c.name, func(t *testing.T) {
			if got := wantsOther(c.err, c.mechanism, c.next, !c.clear); got != c.want {
				t.Errorf("%t, want %t", got, c.want)
			}
		})
	}
}

// TestBlame is whom a loss is put down to, where something was refused before it.
func TestBlame(t *testing.T) {
	was := smtp.Doubt{Next: smtp.OptPlain}
	now := smtp.Doubt{Now: smtp.OptScram, Next: smtp.OptScram}
	for _, c := range []struct {
		name    string
		err     smtp.Error
		refused smtp.Option
		want    smtp.Doubt
	}{
		{"a loss after a refusal", smtp.Error{Kind: smtp.Closed, Doubt: was}, smtp.OptScram, now},
		{"a loss after none", smtp.Error{Kind: smtp.Closed, Doubt: was}, 0, was},
		{"another refusal", smtp.Error{Kind: smtp.Replied, Doubt: was}, smtp.OptScram, was},
		{"a loss that casts no doubt", smtp.Error{Kind: smtp.Closed}, smtp.OptScram, smtp.Doubt{}},
	} {
		t.Run("EXT-20 "+c.name, func(t *testing.T) {
			e := c.err
			if blame(fmt.Errorf("auth: %w", &e), c.refused); e.Doubt != c.want {
				t.Errorf("%+v, want %+v", e.Doubt, c.want)
			}
		})
	}
	blame(errors.New("x"), smtp.OptScram) // of which there is nothing to say
}

// TestNoMechanism is what an operator is told where a login serves no mechanism.
func TestNoMechanism(t *testing.T) {
	many := make([]string, listedMechanisms+1)
	for i := range many {
		many[i] = fmt.Sprintf("M%d", i)
	}
	for _, c := range []struct {
		login   smarthost.Login
		offered []string
		want    string
	}{
		{smarthost.Login{}, nil, "the host offers no AUTH"},
		{smarthost.Login{Mechanism: "plain"}, nil, "the host offers no AUTH"},
		{smarthost.Login{Mechanism: "plain"}, []string{"LOGIN"}, "the host does not offer AUTH PLAIN, or the login lacks what it needs"},
		{smarthost.Login{}, many, "the login serves none of the mechanisms that the host offers: M0 M1 M2 M3 M4 M5 M6 M7 M8 M9 M10 M11"},
		{smarthost.Login{}, many[:2], "the login serves none of the mechanisms that the host offers: M0 M1"},
	} {
		if err := noMechanism(&c.login, c.offered); err.Error() != c.want || !IsOwnLogin(err) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}
