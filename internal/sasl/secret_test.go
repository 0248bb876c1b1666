package sasl_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/sasl"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestNothingShown prints whatever holds a secret, in every way there is.
func TestNothingShown(t *testing.T) {
	const secret = "hunter-of-secrets"
	l := &sasl.Login{User: "u", Password: secret, Token: secret, Tokens: true, Certificate: true, TLS: &tls.ConnectionState{Version: tls.VersionTLS12, TLSUnique: []byte("x")}}
	values := []any{l, &smarthost.Login{User: "u", Password: secret}, smarthost.Login{User: "u", Password: secret}}
	for _, m := range sasl.Mechanisms(true) {
		c, err := l.Client(m)
		if err != nil {
			t.Fatalf("%s: %v", m, err)
		}
		values = append(values, c)
	}
	for _, v := range values {
		var shown strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
			fmt.Fprintf(&shown, verb+" ", v)
			fmt.Fprintf(&shown, verb+" ", []any{v})
		}
		if _, internal := v.(*sasl.Login); !internal { // the others may be in a user's log
			data, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			shown.Write(data)
		}
		if strings.Contains(shown.String(), secret) || strings.Contains(shown.String(), fmt.Sprintf("%x", secret)) {
			t.Errorf("%T is shown as %s", v, &shown)
		}
	}
}

// TestChoose is the order of mechanisms, by what is known of the server.
func TestChoose(t *testing.T) {
	all := sasl.Mechanisms(true)
	for name, c := range map[string]struct {
		login sasl.Login
		want  string
	}{
		"EXT-18 verified":              {sasl.Login{User: "u", Password: "p", Verified: true, TLS: &tls.ConnectionState{}}, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN CRAM-MD5"},
		"EXT-18 not verified":          {sasl.Login{User: "u", Password: "p", TLS: &tls.ConnectionState{}}, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"},
		"EXT-18 in clear":              {sasl.Login{User: "u", Password: "p"}, "SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"},
		"a token":                      {sasl.Login{User: "u", Tokens: true, Verified: true}, "OAUTHBEARER XOAUTH2"},
		"a certificate":                {sasl.Login{Certificate: true, Verified: true}, "EXTERNAL"},
		"acting as somebody else":      {sasl.Login{User: "u", Password: "p", Authorize: "a", Verified: true}, "SCRAM-SHA-256 PLAIN"},
		"one mechanism in small print": {sasl.Login{User: "u", Password: "p", Mechanism: "plain", Verified: true}, "PLAIN"},
		"one that it cannot serve":     {sasl.Login{User: "u", Password: "p", Mechanism: "EXTERNAL", Verified: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(sasl.Choose(&c.login, all), " "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
