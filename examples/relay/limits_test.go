package main

import (
	"crypto/tls"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

// TestLimitsFile: whatever makes no sense in the file is told with the file, the line and the
// field.
func TestLimitsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "limits.json")
	one := func(rule string) string { return "{\"rules\": [\n" + rule + "]}" }
	for text, want := range map[string]string{
		`{"rule": []}`: `:1: rule: unknown key; there are groups, rules`,
		"{\"rules\": [\n{\"match\": {\"domain\": \"e.test\"}, \"connections\": 1},\n{\"match\":\n{\"host\": \"e.test\"}, \"rate\": 1}]}": `:4: rules[1].match.host: unknown key`,
		one(`{"match": {"domain": "e.test"}, "speed": 1}`):                                                       `:2: rules[0].speed: unknown key`,
		one(`{"match": {"domain": "e.test"},` + "\n" + `"connections": -1}`):                                     `:3: rules[0].connections: not a whole number`,
		one(`{"match": {"domain": "e.test"}, "connections": 1.5}`):                                               `:2: rules[0].connections: not a whole number`,
		one(`{"match": {"domain": "e.test"}, "rate": "fast"}`):                                                   `:2: rules[0].rate: not a number`,
		one(`{"match": {"domain": "e.test"}, "shared": 1}`):                                                      `:2: rules[0].shared: neither true nor false`,
		one(`{"match": {"domain": 7}, "rate": 1}`):                                                               `:2: rules[0].match.domain: not a text`,
		one(`{"match": {"domain": "e.test"}, "group": "g"}`):                                                     `:2: rules[0].group: no group named "g"`,
		one(`{"match": {"domain": "e.test"}, "rate": 1},` + "\n" + `{"match": {"domain": "E.test"}, "rate": 2}`): `:3: rules[1].match: `,
		one(`{"match": {"domain": "e.test"}}`):                                                                   `:2: rules[0]: it sets nothing`,
		one(`{"rate": 1}`):                                                                                       `:2: rules[0].match: not exactly one`,
		one(`{"match": {"domain": "e.test"}, "rate": 1, "rate": 2}`):                                             `:2: rules[0].rate: it stands twice`,
		"{\"groups\":\n{\"g\":\n{\"rates\": 1}}}":                                                                `:3: groups["g"].rates: unknown key`,
		"{\"groups\":\n{\"g\": 1}}":                                                                              `:2: groups["g"]: not an object`,
		`{"rules": {}}`:                                                                                          `:1: rules: not a list`,
		"{}\n{}":                                                                                                 ":2: something follows",
		"{\n\"rules\": [":                                                                                        ":2: the file ends too early",
		"{\n\"rules\": [}":                                                                                       ":2: invalid character",
		``:                                                                                                       ":1: the file ends too early",
		one(`{"match": {"domain": "e.test"}, "tls": {"level": "most"}}`):                                         `:2: rules[0].tls.level: unknown level "most"`,
		one(`{"match": {"domain": "e.test"}, "tls": {"level": "unset"}}`):                                        `:2: rules[0].tls.level: unknown level "unset"`,
		one(`{"match": {"domain": "e.test"}, "tls": {"leve": "may"}}`):                                           `:2: rules[0].tls.leve: unknown key`,
		one(`{"match": {"domain": "e.test"}, "tls": {"level": "encrypt", "min": "1.1"}}`):                        `:2: rules[0].tls.min: unknown version "1.1"`,
		one(`{"match": {"domain": "e.test"}, "tls": {"level": "may", "min": "1.3"}}`):                            `:2: rules[0].tls.min: mail that may go in clear`,
		one(`{"match": {"domain": "e.test"}, "tls": {}}`):                                                        `:2: rules[0].tls: it sets nothing`,
		one(`{"match": {"domain": "e.test"}, "tls": {"level": "fingerprint"}}`):                                  `:2: rules[0].tls.fingerprints: level fingerprint needs some`,
		one(`{"match": {"domain": "e.test"}, "tls": {"level": "verify", "fingerprints": ["00"]}}`):               `:2: rules[0].tls.fingerprints[0]: "00" is not a SHA-256`,
		one(`{"match": {"domain": "e.test"}, "tls": {"level": "verify", "cert": "c.pem"}}`):                      `:2: rules[0].tls: cert and key go together`,
		one(`{"match": {"domain": "e.test"}, "tls": {"cert": "/none", "key": "/none"}}`):                         `:2: rules[0].tls.cert: open /none`,
		one(`{"match": {"domain": "a..test"}, "tls": {"level": "verify"}}`):                                      `:2: rules[0].match: `,
	} {
		replace(t, file, text)
		if _, err := readLimits(file); err == nil || !strings.Contains(err.Error(), file+want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	replace(t, file, one(`{"match": {"domain": "e.test"}, "speed": 1},`+"\n"+`{"match": {"domain": "f.test"}, "rat": 1}`))
	if _, err := readLimits(file); err == nil || !strings.Contains(err.Error(), ":2: ") || !strings.Contains(err.Error(), ":3: ") {
		t.Errorf("two mistakes: %v, want both", err)
	}
	replace(t, file, `{"rules": [
		{"match": {"mx": ".mail.protection.outlook.com"}, "group": "office365", "connections": 5, "messages": 50},
		{"match": {"domain": "example.com"}, "rate": 10, "recipients": 20, "tls": {"level": "verify", "min": "1.3"}},
		{"match": {"site": "mx.example.net"}, "connections": 2},
		{"match": {"domain": ".example.org"}, "tls": {"level": "encrypt"}}],
		"groups": {"office365": {"connections": 20, "rate": 50}}}`)
	f, err := readLimits(file)
	if err != nil {
		t.Fatal(err)
	}
	want := []delivery.Rule{
		{Match: delivery.Match{MX: ".mail.protection.outlook.com"}, Group: "office365", Connections: 5, Messages: 50},
		{Match: delivery.Match{Domain: "example.com"}, Rate: 10, Recipients: 20},
		{Match: delivery.Match{Site: "mx.example.net"}, Connections: 2},
	}
	if !slices.Equal(f.rules, want) {
		t.Errorf("%+v, want %+v", f.rules, want)
	}
	if g := f.groups["office365"]; g != (delivery.Group{Connections: 20, Rate: 50}) {
		t.Errorf("%+v", g)
	}
	if len(f.tls) != 2 || f.tls[0].Level != trust.Verify || f.tls[0].MinVersion != tls.VersionTLS13 || f.tls[0].Match.Domain != "example.com" {
		t.Errorf("%+v", f.tls)
	}
}

// TestBadLimitsAtStart: a relay whose file of limits makes no sense does not start.
func TestBadLimitsAtStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "limits.json")
	for text, want := range map[string]string{
		"{\"rules\": [\n{\"match\": {\"domain\": \"e.test\"},\n\"speed\": 1}]}":               file + ":3: rules[0].speed: unknown key",
		"{\"rules\": [\n{\"match\": {\"mx\": \"e.test\"}, \"tls\":\n{\"level\": \"high\"}}]}": file + `:3: rules[0].tls.level: unknown level "high"`,
	} {
		replace(t, file, text)
		c := command("-queue", inMemory, "-listen", "127.0.0.1:0", "-limits", file)
		out, _ := c.CombinedOutput()
		if code := c.ProcessState.ExitCode(); code != cli.ExitConfig || !strings.Contains(string(out), want) {
			t.Errorf("%s: exit code %d and %q, want %d and %q", text, code, out, cli.ExitConfig, want)
		}
	}
	c := command("-queue", inMemory, "-listen", "127.0.0.1:0", "-limits", file+".none")
	if out, _ := c.CombinedOutput(); c.ProcessState.ExitCode() != cli.ExitConfig {
		t.Errorf("no such file: exit code %d, %s", c.ProcessState.ExitCode(), out)
	}
}

// TestLimitsReplaced: a rule holds from the start, a file that has become wrong leaves it
// in force and is told, and one that is put right holds at once.
func TestLimitsReplaced(t *testing.T) {
	w := newWorld(t, zone)
	host := &smtptest.Host{Name: "mx.two.example", Script: []smtptest.Cue{{At: smtptest.Final, Delay: 50 * time.Millisecond}}}
	w.start("127.0.0.8", host)
	file := filepath.Join(t.TempDir(), "limits")
	replace(t, file, `{"rules": [{"match": {"domain": "two.example"}, "rate": 0.001}]}`)
	r := w.relay("-queue", inMemory, "-limits", file, "-smarthost-for", "two.example=smtp://[127.0.0.8]:"+w.port+"?tls=none")
	for range 3 {
		if _, err := submit(t, r.client("127.0.0.1"), "one", "u@two.example"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the first message goes", func() bool { return len(host.Messages()) == 1 })
	replace(t, file, `{"rules": [{"match": {"domain": "two.example"}, "rat": 1}]}`)
	_ = r.Process.Signal(syscall.SIGHUP)
	eventually(t, "the relay says what is wrong", func() bool {
		return strings.Contains(r.errs.String(), `-limits: those in force stay so: `+file+`:1: rules[0].rat: unknown key`)
	})
	if n := len(host.Messages()); n != 1 {
		t.Errorf("%d messages went, want one: the rate is in force", n)
	}
	replace(t, file, `{}`)
	_ = r.Process.Signal(syscall.SIGHUP)
	eventually(t, "the others go without the rule", func() bool { return len(host.Messages()) == 3 })
	r.stop()
}
