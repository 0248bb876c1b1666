package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestEvents sends a message to one who takes it, one who takes it later, one who
// never does and one who says nothing at the end, and reads what the relay says of it. The
// sender gets a report.
func TestEvents(t *testing.T) {
	w := newWorld(t, zone)
	com := stubborn("mail.example.com",
		smtptest.Cue{At: smtptest.Rcpt, Address: "later@example.com", Times: 1, Reply: "451 4.3.2 come back"},
		smtptest.Cue{At: smtptest.Rcpt, Address: "never@example.com", Reply: "550 5.1.1 nobody of <that name>"})
	two := stubborn("mail.two.example", smtptest.Cue{At: smtptest.Final, Times: 1, Then: smtptest.Close})
	org := modern("mail.example.org")
	w.start("127.0.0.2", com)
	w.start("127.0.0.5", two)
	w.start("127.0.0.6", org)
	file := filepath.Join(t.TempDir(), "events")
	r := w.relay("-queue", t.TempDir(), "-events", file, "-retry", "100ms", "-http", "127.0.0.1:0")
	if _, err := submit(t, r.client("127.0.0.1"), "x", "now@example.com", "later@example.com", "never@example.com", "lost@two.example"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everybody but one has it", func() bool {
		return len(recipients(com)) == 2 && len(recipients(two)) >= 1
	})
	eventually(t, "the report arrives", func() bool { return len(org.Messages()) == 1 })
	report := org.Messages()[0]
	if text := string(report.Content); report.From != "" || !strings.Contains(text, "Final-Recipient: rfc822; never@example.com") ||
		!strings.Contains(text, "nobody of <that name>") {
		t.Errorf("the report is from <%s>:\n%s", report.From, text)
	}
	want := map[string][]string{
		"now@example.com":   {"queued", "delivered 250"},
		"later@example.com": {"queued", "deferred 451", "delivered 250"},
		"never@example.com": {"queued", "failed 550"},
		"lost@two.example":  {"queued", "unknown 0", "delivered 250"},
		"alice@example.org": {"delivered 250"}, // the report, whose queueing is the event bounced
	}
	got := map[string][]string{}
	defer func() {
		if t.Failed() {
			t.Logf("%q", got)
		}
	}()
	eventually(t, "all events are there", func() bool {
		got = eventsByRecipient(t, file)
		return len(got["lost@two.example"]) == 3 && len(got["later@example.com"]) == 3 && len(got["alice@example.org"]) == 1
	})
	for recipient, list := range want {
		if !slices.Equal(got[recipient], list) {
			t.Errorf("%s: %q, want %q", recipient, got[recipient], list)
		}
	}
	checkPages(t, r.http)
	// Whoever rotates the file sends SIGHUP.
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	_ = r.Process.Signal(syscall.SIGHUP)
	eventually(t, "the file is opened again", func() bool { _, err := os.Stat(file); return err == nil })
	if _, err := submit(t, r.client("127.0.0.1"), "x", "now@example.com"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "events go there", func() bool { return len(eventsByRecipient(t, file)["now@example.com"]) == 2 })
	r.stop()
}

// eventsByRecipient reads a file of events; each must have the fields of the contract.
func eventsByRecipient(t *testing.T, file string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for l := range bytes.Lines(text) {
		if !bytes.HasSuffix(l, []byte("\n")) {
			break // is being written
		}
		var e map[string]any
		if err := json.Unmarshal(l, &e); err != nil {
			t.Fatalf("%v in %s", err, l)
		}
		for _, field := range []string{"time", "event", "id", "from", "recipient", "attempt", "host", "addr", "code", "enhanced", "reply", "tls"} {
			if _, ok := e[field]; !ok {
				t.Errorf("no %q in %s", field, l)
			}
		}
		kind := e["event"].(string)
		if _, ok := e["next"]; ok != (kind == "deferred" || kind == "unknown") {
			t.Errorf("next or none in %s", l)
		}
		if kind == "bounced" || kind == "delayed" {
			if e["bounce"] == nil {
				t.Errorf("whose report? %s", l)
			}
			continue
		}
		if kind == "delivered" && (e["addr"] == "" || e["host"] == "" || e["attempt"] == 0.0 || e["tls"] != "none") {
			t.Errorf("who took it? %s", l)
		}
		if kind != "queued" {
			kind += " " + strings.TrimSuffix(jsonNumber(e["code"]), ".0")
		}
		to := e["recipient"].(string)
		out[to] = append(out[to], kind)
	}
	return out
}

func jsonNumber(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// checkPages looks at what -http shows.
func checkPages(t *testing.T, base string) {
	t.Helper()
	for page, want := range map[string]string{
		"/metrics": "nexthop_events_total{event=\"failed\"} 1\n",
		"/healthz": "ok\n",
		"/":        "<h1>relay.example.net</h1>",
	} {
		response, err := http.Get(base + page)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s %v, want %q in\n%s", page, response.Status, err, want, body)
		}
	}
}
