package main

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// file is a file with one smart host in it.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "host")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "@" + name
}

// outcome is what -json says of the first recipient.
type outcome struct{ Status, Route, Host, Addr, Enhanced string }

func TestSmartHost(t *testing.T) {
	host := &smtptest.Host{Extensions: []string{"PIPELINING"}}
	w := build(t, host)
	here := "smtp://127.0.0.1:" + w.port
	dead := "smtp://[127.0.0.9]:1" // nobody listens there
	down := build(t, &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "421 busy"}}})
	same := build(t, &smtptest.Host{Name: "us.test"}) // as -helo is
	sameAddr := "127.0.0.1:" + same.port
	sameName := "smtp://" + sameAddr
	for _, c := range []struct {
		name string
		args []string
		want outcome
	}{
		{"for everything", []string{"-smarthost", here, "u@nowhere.test"}, outcome{"delivered", "smarthost", "[127.0.0.1]", "127.0.0.1:" + w.port, ""}},
		{"in Postfix's notation", []string{"-smarthost", "[mx.e.test]:" + w.port, "u@nowhere.test"}, outcome{"delivered", "smarthost", "mx.e.test", "127.0.0.1:" + w.port, ""}},
		{"in sendmail's", []string{"-smarthost", "esmtp:[mx.e.test]:" + w.port, "u@nowhere.test"}, outcome{"delivered", "smarthost", "mx.e.test", "127.0.0.1:" + w.port, ""}},
		{"by MX", []string{"-smarthost", "smtp://e.test:" + w.port + "?mx=1", "u@nowhere.test"}, outcome{"delivered", "smarthost", "mx.e.test", "127.0.0.1:" + w.port, ""}},
		{"the second", []string{"-smarthost", dead, "-smarthost", here, "u@e.test"}, outcome{"delivered", "smarthost", "[127.0.0.1]", "127.0.0.1:" + w.port, ""}},
		{"from a file", []string{"-smarthost", file(t, here+"\n"), "u@nowhere.test"}, outcome{"delivered", "smarthost", "[127.0.0.1]", "127.0.0.1:" + w.port, ""}},
		{"for one domain", []string{"-smarthost-for", "nowhere.test=" + here, "u@nowhere.test"}, outcome{"delivered", "smarthost", "[127.0.0.1]", "127.0.0.1:" + w.port, ""}},
		{"and not for another", []string{"-smarthost-for", "nowhere.test=" + dead, "u@e.test"}, outcome{"delivered", "mx", "mx.e.test", "127.0.0.1:" + w.port, ""}},
		{"for every subdomain", []string{"-smarthost-for", ".test=" + here, "u@nowhere.test"}, outcome{"delivered", "smarthost", "[127.0.0.1]", "127.0.0.1:" + w.port, ""}},
		{"several for one", []string{"-smarthost-for", "E.test=" + dead, "-smarthost-for", "e.test=" + here, "u@e.test"}, outcome{"delivered", "smarthost", "[127.0.0.1]", "127.0.0.1:" + w.port, ""}},
		{"with an exemption", []string{"-smarthost", dead, "-smarthost-for", "e.test=mx", "u@e.test"}, outcome{"delivered", "mx", "mx.e.test", "127.0.0.1:" + w.port, ""}},
		{"QUE-14 a fallback that is not needed", []string{"-fallback", dead, "u@e.test"}, outcome{"delivered", "mx", "mx.e.test", "127.0.0.1:" + w.port, ""}},
		{"QUE-14 a fallback that is", []string{"-port", down.port, "-fallback", here, "u@e.test"}, outcome{"delivered", "fallback", "[127.0.0.1]", "127.0.0.1:" + w.port, ""}},
		{"QUE-14 where DNS is in trouble", []string{"-fallback", here, "u@broken.test"}, outcome{"delivered", "fallback", "[127.0.0.1]", "127.0.0.1:" + w.port, ""}},
		{"QUE-14 not for a domain that takes no mail", []string{"-fallback", here, "u@null.test"}, outcome{"failed", "mx", "", "", "5.1.10"}},
		{"one without an address bounces nothing", []string{"-smarthost", "smtp://gone.test", "u@e.test"}, outcome{"deferred", "smarthost", "", "", "4.3.5"}},
		{"MX-28 another program of this host's name is none", []string{"-smarthost", sameName, "u@e.test"}, outcome{"delivered", "smarthost", "[127.0.0.1]", sameAddr, ""}},
		{"QUE-14 a fallback of this host's name", []string{"-port", down.port, "-fallback", sameName, "u@e.test"}, outcome{"delivered", "fallback", "[127.0.0.1]", sameAddr, ""}},
		{"QUE-19 an MX host of this host's name", []string{"-port", same.port, "u@e.test"}, outcome{"failed", "mx", "mx.e.test", sameAddr, "5.4.6"}},
		{"MX-28 this host is a loop", []string{"-smarthost", "smtp://us.test", "u@e.test"}, outcome{"failed", "smarthost", "", "", "5.4.6"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errs, _ := w.mxsend(t, text, append([]string{"-json", "-f", "a@b.test"}, c.args...)...)
			var got outcome
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatalf("%v in %s%s", err, out, errs)
			}
			if c.want.Enhanced == "" {
				got.Enhanced = ""
			}
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
	host.Check(t)
}

// TestSmartHostFlags: what makes no sense is 64, what cannot work is 78, and no
// secret is printed.
func TestSmartHostFlags(t *testing.T) {
	host := &smtptest.Host{}
	w := build(t, host)
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"a scheme", []string{"-smarthost", "https://u:hunter2@x.test"}, 64, "scheme"},
		{"a port", []string{"-smarthost", "smtp://u:hunter2@x.test:0"}, 64, "port"},
		{"no host", []string{"-smarthost", ""}, 64, "the host is missing"},
		{"a password that can be read on the way", []string{"-smarthost", "smtp://u:hunter2@x.test?tls=may"}, 64, "consent"},
		{"a parameter", []string{"-fallback", "smtp://u:hunter2@x.test?frob=1"}, 64, "unknown parameter"},
		{"a mechanism", []string{"-smarthost", "smtp://u:hunter2@x.test?auth=gssapi"}, 78, "mechanism"},
		{"a file that is not there", []string{"-smarthost", "@" + filepath.Join(t.TempDir(), "none")}, 78, "no such file"},
		{"a file without sense", []string{"-smarthost", file(t, "smtp://u:hunter2")}, 64, "port"},
		{"a mechanism in a file", []string{"-fallback", file(t, "smtp://u:hunter2@x.test?auth=ntlm")}, 78, "mechanism"},
		{"no domain", []string{"-smarthost-for", "smtp://u:hunter2@x.test"}, 64, "DOMAIN=URL"},
		{"no domain before the first =", []string{"-smarthost-for", "smtp://u:hunter2@x.test?tls=none"}, 64, "-smarthost-for"},
		{"a domain that is none", []string{"-smarthost-for", "a..b=smtp://x.test"}, 64, "no domain"},
		{"an exemption and a host", []string{"-smarthost-for", "a.test=mx", "-smarthost-for", "a.test=smtp://x.test"}, 64, "both"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errs, code := w.mxsend(t, text, append(c.args, "-v", "-f", "a@b.test", "u@e.test")...)
			if code != c.code || !strings.Contains(errs, c.says) || strings.Contains(out+errs, "hunter2") {
				t.Errorf("exit code %d, want %d, and %q in:\n%s%s", code, c.code, c.says, out, errs)
			}
		})
	}
	if len(host.Connections()) != 0 {
		t.Error("it connected")
	}
}

func TestExplainSmartHost(t *testing.T) {
	w := build(t, &smtptest.Host{})
	out, _, code := w.mxsend(t, "", "-explain",
		"-smarthost", "submission://alice:hunter2@mx.e.test", "-smarthost", "smtps://[127.0.0.1]?pref=7", "-smarthost", "smtp://gone.test",
		"-smarthost-for", "e.test=mx", "-smarthost-for", "broken.test=mx", "-fallback", "smtp://implicit.test:26",
		"u@other.test", "u@e.test", "u@broken.test")
	// What is said between the two depends on the resolv.conf of the machine.
	out = regexp.MustCompile(`(not in /etc/hosts,).*( no address of gone.test in DNS)`).ReplaceAllString(out, "$1 WHERE$2")
	want := `other.test: mail goes to a smart host
   1. 0     mx.e.test:587 127.0.0.1; TLS required, certificate for mx.e.test (configuration); login "alice"
   2. 7     [127.0.0.1]:465 127.0.0.1; TLS from the start, required, any certificate (configuration)
  --  0     gone.test: no answer about its address for now: gone.test: cannot be routed as configured: no address found for the host: not in /etc/hosts, WHERE no address of gone.test in DNS
e.test: mail goes by MX records
   1. 10    mx.e.test 127.0.0.1; TLS if offered, any certificate (configuration)
e.test: once all of these have failed for now, mail goes to the fallback host
   1. 0     implicit.test:26 127.0.0.1; TLS if offered, any certificate (configuration)
`
	head, rest, _ := strings.Cut(out, "broken.test: ")
	if head != want || code != 0 {
		t.Errorf("exit code %d,\n%swant\n%s", code, out, want)
	}
	if !strings.HasPrefix(rest, "mail goes by MX records\n  --  0     broken.test: no answer about its address for now: ") || !strings.Contains(rest, "implicit.test:26") {
		t.Errorf("of a domain without an answer:\n%s", rest)
	}
}

// TestLogin: whoever says tls=none sends the password in clear, and still nobody
// reads it in what is printed.
func TestLogin(t *testing.T) {
	host := &smtptest.Host{
		Extensions: []string{"PIPELINING", "AUTH PLAIN LOGIN"}, Users: map[string]string{"alice": "hunter2/@"},
		Allow: []smtptest.Rule{smtptest.RuleAuthClear},
	}
	w := build(t, host)
	there := "@127.0.0.1:" + w.port + "?tls=none"
	for _, c := range []struct {
		name, url string
		code      int
		says      string
	}{
		{"plain", "smtp://alice:hunter2%2F%40" + there + "&auth=plain", 0, "> AUTH PLAIN"},
		{"login", "smtp://alice:hunter2%2F%40" + there + "&auth=login", 0, "> AUTH LOGIN"},
		{"the wrong one", "smtp://alice:hunter2" + there, 75, "535"},
		{"to whom it may concern", "smtp://alice:hunter2@127.0.0.1:" + w.port, 75, "STARTTLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errs, code := w.mxsend(t, text, "-v", "-json", "-smarthost", c.url, "-f", "a@b.test", "u@nowhere.test")
			if code != c.code || !strings.Contains(out+errs, c.says) {
				t.Errorf("exit code %d, want %d, and %q in\n%s%s", code, c.code, c.says, out, errs)
			}
			for _, secret := range []string{
				"hunter2", base64.StdEncoding.EncodeToString([]byte("\x00alice\x00hunter2/@")), base64.StdEncoding.EncodeToString([]byte("hunter2/@")),
				base64.StdEncoding.EncodeToString([]byte("\x00alice\x00hunter2")),
			} {
				if strings.Contains(out+errs, secret) {
					t.Errorf("%q is printed in\n%s%s", secret, out, errs)
				}
			}
		})
	}
	if n := len(host.Messages()); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
	host.Check(t)
}
