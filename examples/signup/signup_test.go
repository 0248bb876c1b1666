package main

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// world is a service with mail hosts.
type world struct {
	signUp
	net   *smtptest.Internet
	hosts map[string]*smtptest.Host
	txt   string // the key in DNS
}

// newWorld makes one in a bubble, and does not run the agent yet.
func newWorld(t *testing.T) *world {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		hosts: map[string]*smtptest.Host{
			"mail.example.com": {Script: []smtptest.Cue{
				{At: smtptest.Rcpt, Address: "nobody@example.com", Reply: "550 5.1.1 No such user"},
			}},
			"mail.example.org": {},
		},
		txt: "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public),
	}
	w.net = (&smtptest.Internet{
		Zone: `
			example.com.       MX 10 mail.example.com.
			mail.example.com.  A  192.0.2.1
			example.org.       MX 10 mail.example.org.
			mail.example.org.  A  192.0.2.2
			example.net.       MX 0  .`,
		Rules: []mxtest.Rule{{Name: "slow.example", Fault: mxtest.ServFail}},
		Hosts: w.hosts,
	}).Start(t)
	w.ended = make(map[string]string)
	w.agent = &delivery.Agent{
		Queue:  &memory.Queue{KeepOutcomes: month},
		Sender: &delivery.Sender{Hello: "app.example.org", Resolver: w.net, Dial: w.net.DialContext},
		Sign:   signer("example.org", "key1", key), Events: w.event,
	}
	return w
}

func (w *world) run(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.agent.Run(ctx) }()
	t.Cleanup(func() {
		if stop(); <-ended != nil {
			t.Error("the agent ended with an error")
		}
	})
}

// post signs up, and returns the status and the text of the answer.
func (w *world) post(user, email string) (int, string) {
	r := httptest.NewRequest(http.MethodPost, "/signup", strings.NewReader(url.Values{"user": {user}, "email": {email}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer := httptest.NewRecorder()
	w.signUp.signUp(answer, r)
	return answer.Code, answer.Body.String()
}

func (w *world) outcome(t *testing.T, user, want string) {
	t.Helper()
	answer := httptest.NewRecorder()
	w.status(answer, httptest.NewRequest(http.MethodGet, "/status?user="+user, nil))
	if got := strings.TrimSuffix(answer.Body.String(), "\n"); !strings.HasPrefix(got, want) || (got == "") != (want == "") {
		t.Errorf("the outcome of %s is %q, want %q", user, got, want)
	}
}

// signed verifies the signature of each message at a host as a receiver does.
func (w *world) signed(t *testing.T, host string, messages int) {
	t.Helper()
	got := w.hosts[host].Messages()
	if len(got) != messages {
		t.Errorf("%d messages at %s, want %d", len(got), host, messages)
	}
	for _, m := range got {
		list, err := dkim.VerifyWithOptions(bytes.NewReader(m.Content), &dkim.VerifyOptions{
			LookupTXT: func(string) ([]string, error) { return []string{w.txt}, nil },
		})
		if err != nil || len(list) != 1 || list[0].Err != nil || list[0].Domain != "example.org" {
			t.Errorf("mail to %s has no good signature: %v, %+v\n%s", m.To(), err, list, m.Content)
		}
	}
}

func TestSignUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t)
		for _, c := range []struct {
			user, email string
			status      int
			says        string
		}{
			{"bob", "bob@example.com", 200, "on its way"},
			{"bob", "bob@example.com", 200, "on its way"}, // a double click
			{"eve", "eve at example.com", 400, ""},
			{"eve", "", 400, ""},
			{"eve", "eve@nowhere.example", 400, "no such domain"},
			{"eve", "eve@example.net", 400, "takes no mail"},
			{"gone", "nobody@example.com", 200, "on its way"},
			{"dave", "dave@slow.example", 200, "on its way"}, // DNS may answer later
		} {
			status, says := w.post(c.user, c.email)
			if status != c.status || !strings.Contains(says, c.says) {
				t.Errorf("%s with %q: %d %s, want %d with %q", c.user, c.email, status, says, c.status, c.says)
			}
			time.Sleep(time.Minute)
		}
		w.signed(t, "mail.example.com", 1)
		w.outcome(t, "bob", "delivered: ")
		w.outcome(t, "gone", "failed: 5.1.1 No such user")
		w.outcome(t, "dave", "")
		w.outcome(t, "eve", "")
		w.net.Check(t)
	})
}

// TestReportsAreSigned: the agent has its own reports signed as well.
func TestReportsAreSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.agent.Postmaster = "postmaster@example.org"
		w.run(t)
		w.post("gone", "nobody@example.com")
		time.Sleep(time.Minute)
		w.signed(t, "mail.example.org", 1)
	})
}

// TestLearn: outcomes of before the program was started are known, and none is learned
// twice.
func TestLearn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.agent.Events = nil // as if it crashed before each
		w.run(t)
		w.post("bob", "bob@example.com")
		time.Sleep(time.Minute)
		w.outcome(t, "bob", "")
		for range 2 {
			if err := w.learn(t.Context()); err != nil {
				t.Error(err)
			}
			w.outcome(t, "bob", "delivered: ")
		}
		w.ended["bob"] = "told"
		w.post("gone", "nobody@example.com")
		time.Sleep(time.Minute)
		if err := w.learn(t.Context()); err != nil {
			t.Error(err)
		}
		w.outcome(t, "gone", "failed: ")
		w.outcome(t, "bob", "told")
		if w.agent.Queue = new(memory.Queue); w.learn(t.Context()) == nil {
			t.Error("no error of a queue that keeps no outcomes")
		}
	})
}

func TestKey(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	exchange, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	for text, want := range map[string]string{
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})):           "",
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("rot")})): "asn1",
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: exchange})):      "cannot sign",
		"a key": "not in PEM",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readKey(file)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) || err == nil && !key.Equal(got) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := readKey(file + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestSignerSaysWhatItCannotSign(t *testing.T) {
	sign := signer("other.example", "key2", nil)
	if _, err := sign(t.Context(), &queue.Message{Content: queue.String("S: s\r\n\r\n")}); err == nil {
		t.Error("signed without a key")
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	missing := queue.File(filepath.Join(t.TempDir(), "none"))
	if _, err := signer("other.example", "key2", key)(t.Context(), &queue.Message{Content: missing}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want that there is no such file", err)
	}
}
