package main

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

func TestLimitsFile(t *testing.T) {
	read := func(t *testing.T, text string) error {
		t.Helper()
		file := filepath.Join(t.TempDir(), "limits")
		replace(t, file, text)
		return readLimits(file, &delivery.Settings{})
	}
	for text, want := range map[string]string{
		`{"rule": []}`: `unknown field "rule"`,
		`{"rules": [{"match": {"domain": "e.test"}, "connections": 1}, {"match": {"host": "e.test"}, "rate": 1}]}`: `rules[1]: json: unknown field "host"`,
		`{"rules": [{"match": {"domain": "e.test"}, "speed": 1}]}`:                                                 `rules[0]: json: unknown field "speed"`,
		`{"rules": [{"match": {"domain": "e.test"}, "connections": -1}]}`:                                          `Rules[0].Connections`,
		`{"rules": [{"match": {"domain": "e.test"}, "rate": "fast"}]}`:                                             `rules[0]: json: cannot unmarshal string`,
		`{"rules": [{"match": {"domain": "e.test"}, "group": "g"}]}`:                                               `there is no group "g"`,
		`{"groups": {"g": {"rates": 1}}}`:                                                                          `groups["g"]: json: unknown field "rates"`,
		`{} {}`:                                                                                                    "something follows",
		``:                                                                                                         "EOF",
	} {
		if err := read(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	file := filepath.Join(t.TempDir(), "limits")
	replace(t, file, `{"rules": [
		{"match": {"mx": ".mail.protection.outlook.com"}, "group": "office365", "connections": 5, "messages": 50},
		{"match": {"domain": "example.com"}, "rate": 10, "recipients": 20},
		{"match": {"site": "mx.example.net"}, "connections": 2}],
		"groups": {"office365": {"connections": 20, "rate": 50}}}`)
	var s delivery.Settings
	if err := readLimits(file, &s); err != nil {
		t.Fatal(err)
	}
	want := []delivery.Rule{
		{Match: delivery.Match{MX: ".mail.protection.outlook.com"}, Group: "office365", Connections: 5, Messages: 50},
		{Match: delivery.Match{Domain: "example.com"}, Rate: 10, Recipients: 20},
		{Match: delivery.Match{Site: "mx.example.net"}, Connections: 2},
	}
	for i := range want {
		if s.Rules[i] != want[i] {
			t.Errorf("%+v, want %+v", s.Rules[i], want[i])
		}
	}
	if g := s.Groups["office365"]; g != (delivery.Group{Connections: 20, Rate: 50}) {
		t.Errorf("%+v", g)
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
		return strings.Contains(r.errs.String(), `-limits: those in force stay so: rules[0]: json: unknown field "rat"`)
	})
	if n := len(host.Messages()); n != 1 {
		t.Errorf("%d messages went, want one: the rate is in force", n)
	}
	replace(t, file, `{}`)
	_ = r.Process.Signal(syscall.SIGHUP)
	eventually(t, "the others go without the rule", func() bool { return len(host.Messages()) == 3 })
	r.stop()
}
