package smarthost_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestSecrets: a host shows its secrets in URL and nowhere else.
func TestSecrets(t *testing.T) {
	for _, notation := range []string{"smtp://alice:hunter2@relay.test", "smtp://alice:hunter2@relay.test?auth=oauthbearer"} {
		h := hosts(t, notation)[0]
		rules := smarthost.Rules{Default: []smarthost.Host{h}, Special: []smarthost.Rule{{To: "a.test", Hosts: []smarthost.Host{h}}}}
		text, err := json.Marshal(rules)
		if err != nil {
			t.Fatal(err)
		}
		var logged bytes.Buffer
		slog.New(slog.NewJSONHandler(&logged, nil)).Info("rules", "rules", rules, "host", h, "login", h.Login)
		slog.New(slog.NewTextHandler(&logged, nil)).Info("rules", "rules", rules, "host", h, "login", *h.Login, "token", h.Login.Token)
		for name, shown := range map[string]string{
			"fmt":  fmt.Sprintf("%v %+v %#v %s %q %x %v %+v %#v", h, h, h, h, h, h.Login, rules, rules, rules),
			"JSON": string(text), "slog": logged.String(),
		} {
			if strings.Contains(shown, "hunter2") || strings.Contains(shown, fmt.Sprintf("%x", "hunter2")) || !strings.Contains(shown, "alice") {
				t.Errorf("%s shows %s", name, shown)
			}
		}
		if !strings.Contains(h.URL(), "hunter2") {
			t.Errorf("URL is %s", h.URL())
		}
	}
}

func TestStaticToken(t *testing.T) {
	token := smarthost.StaticToken("hunter2")
	if got, err := token.Token(t.Context(), ""); got != "hunter2" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := token.Token(t.Context(), "hunter2"); got != "" || err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("once refused: %q, %v", got, err)
	}
}
