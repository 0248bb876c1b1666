package main

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

// post presses a button of a dashboard, with headers as a browser sends them.
func post(t *testing.T, base, verb, argument string, headers ...string) (code int, body string) {
	t.Helper()
	form := url.Values{"verb": {verb}, "argument": {argument}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/act", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	return do(t, r)
}

func do(t *testing.T, r *http.Request) (code int, body string) {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func page(t *testing.T, base, host string) (code int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	return do(t, r)
}

// TestActions: with -actions the dashboard does what its buttons say, for whoever is on this
// machine and for no page from elsewhere; without it there are none.
func TestActions(t *testing.T) {
	w := newWorld(t, zone)
	dir := t.TempDir()
	r := w.relay("-queue", dir, "-http", "127.0.0.1:0", "-actions", "-retry", "1h") // no host is up
	client := r.client("127.0.0.1")
	for range 2 {
		if _, err := submit(t, client, "subject", "b@example.com"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both wait", func() bool {
		_, body := page(t, r.http, "")
		return strings.Contains(body, "deferred, 1 attempts") && !strings.Contains(body, "sending,")
	})
	_, body := page(t, r.http, "")
	ids := regexp.MustCompile(`name="argument" value="([0-9a-zA-Z]+)"><button name="verb" value="hold"`).FindAllStringSubmatch(body, -1)
	if len(ids) != 2 {
		t.Fatalf("%d messages have a button to hold them, want 2:\n%s", len(ids), body)
	}
	first, second := ids[0][1], ids[1][1]
	shows := func(what string) bool { _, body := page(t, r.http, ""); return strings.Contains(body, what) }

	for _, attack := range [][]string{
		{"Sec-Fetch-Site", "cross-site", "Origin", "http://evil.example"},
		{"Origin", "http://evil.example"},
		{"Sec-Fetch-Site", "same-site"},
		{"Host", "evil.example", "Origin", "http://evil.example"}, // a name that leads here
		{"Host", "evil.example:80", "Sec-Fetch-Site", "same-origin"},
	} {
		if code, _ := post(t, r.http, "drop", first, attack...); code != http.StatusForbidden {
			t.Errorf("%v: %d, want 403", attack, code)
		}
	}
	if code, body := page(t, r.http, "evil.example"); code != http.StatusForbidden || strings.Contains(body, first) {
		t.Errorf("a page by another name: %d, want 403", code)
	}
	if code, _ := page(t, r.http, "localhost"); code != http.StatusOK {
		t.Errorf("by the name localhost: %d", code)
	}
	for _, bad := range [][2]string{{"list", first}, {"flush", ""}, {"", ""}} {
		if code, _ := post(t, r.http, bad[0], bad[1]); code != http.StatusBadRequest {
			t.Errorf("%q %q: %d, want 400", bad[0], bad[1], code)
		}
	}
	if code, body := post(t, r.http, "hold", "nosuchmessage"); code != http.StatusConflict || !strings.Contains(body, "nosuchmessage") {
		t.Errorf("no such message: %d %s", code, body)
	}

	for _, step := range []struct{ verb, argument, shows, not string }{
		{"hold", first, "on hold</small>", ""},
		{"release", first, "", "on hold</small>"},
		{"suspend", "example.com", `value="resume"`, ""},
		{"resume", "example.com", "", `value="resume"`},
		{"flush", "example.com", first, ""},
		{"drop", first, second, first},
		{"fail", second, "", second},
	} {
		if code, body := post(t, r.http, step.verb, step.argument, "Origin", r.http, "Sec-Fetch-Site", "same-origin"); code != http.StatusSeeOther {
			t.Errorf("%s %s: %d %s", step.verb, step.argument, code, body)
		}
		eventually(t, step.verb+" shows", func() bool {
			return (step.shows == "" || shows(step.shows)) && (step.not == "" || !shows(step.not))
		})
	}
	r.stop()

	r = w.relay("-queue", dir, "-http", "127.0.0.1:0")
	if code, _ := post(t, r.http, "flush", "example.com"); code != http.StatusNotFound && code != http.StatusMethodNotAllowed {
		t.Errorf("without -actions: %d", code)
	}
	if _, body := page(t, r.http, ""); strings.Contains(body, "<button") {
		t.Error("without -actions there are buttons")
	}
	r.stop()
	for _, args := range [][]string{{"-actions"}, {"-actions", "-http", "0.0.0.0:0"}, {"-actions=some", "-http", "127.0.0.1:0"}} {
		c := command(append([]string{"-queue", inMemory, "-listen", "127.0.0.1:0"}, args...)...)
		if out, _ := c.CombinedOutput(); c.ProcessState.ExitCode() != cli.ExitUsage {
			t.Errorf("%v: exit code %d, want %d\n%s", args, c.ProcessState.ExitCode(), cli.ExitUsage, out)
		}
	}
	r = w.relay("-queue", inMemory, "-http", "0.0.0.0:0", "-actions=anywhere")
	r.stop()
}
