package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

// operated is a relay with mail for a domain without hosts and for one with a host.
type operated struct {
	*world
	relay  *process
	dir    string
	events string
	client *delivery.Sender
	com    *smtptest.Host // of example.com
	org    *smtptest.Host // of the senders
}

// eachQueue runs a test on a queue in a directory and on one in a database.
func eachQueue(t *testing.T, test func(t *testing.T, where string)) {
	t.Helper()
	t.Parallel()
	t.Run("in a directory", func(t *testing.T) { test(t, t.TempDir()) })
	t.Run("in a database", func(t *testing.T) { test(t, newDatabase(t).URL()) })
}

func newOperated(t *testing.T, where string, args ...string) *operated {
	t.Helper()
	w := &operated{world: newWorld(t, zone), dir: where, com: modern("mail.example.com"), org: modern("mail.example.org")}
	w.events = filepath.Join(t.TempDir(), "events")
	w.start("127.0.0.2", w.com)
	w.start("127.0.0.6", w.org)
	w.relay = w.world.relay(append([]string{"-queue", w.dir, "-warn", "0", "-events", w.events}, args...)...)
	w.client = w.relay.client("127.0.0.1")
	return w
}

func (w *operated) send(text string, to ...string) (id string) {
	w.t.Helper()
	if _, err := submit(w.t, w.client, text, to...); err != nil {
		w.t.Fatal(err)
	}
	out, _, _ := queueCommand(w.dir, "list", "-json")
	list := entries(w.t, out)
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1].ID
}

// want runs a command and compares what it prints, by an expression, and its exit code.
func (w *operated) want(code int, out string, words ...string) {
	w.t.Helper()
	got, errs, is := queueCommand(w.dir, words...)
	if is != code || !regexp.MustCompile(out).MatchString(got) || code != 0 && errs == "" {
		w.t.Errorf("%q: exit code %d, %q, %q; want %d, %s", words, is, got, errs, code, out)
	}
}

// why is the answers of "why".
func (w *operated) why(of string) (list []waits) {
	w.t.Helper()
	out, errs, code := queueCommand(w.dir, "why", of, "-json")
	if code != 0 {
		w.t.Fatalf("why %s: exit code %d, %s", of, code, errs)
	}
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var one waits
		if err := d.Decode(&one); err != nil {
			w.t.Fatalf("%v in %s", err, out)
		}
		list = append(list, one)
	}
	return list
}

// became are the recipients of the events of a kind, or what they are about.
func (w *operated) became(kind string) (list []string) {
	w.t.Helper()
	text, err := os.ReadFile(w.events)
	if err != nil {
		w.t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		var e struct{ Event, Recipient, Destination string }
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			w.t.Fatal(err)
		}
		if e.Event == kind {
			list = append(list, e.Recipient+e.Destination)
		}
	}
	return list
}

// TestWhyCommand: why mail waits, from a relay that runs and from a queue on its own,
// also for mail that was never tried because its site is down.
func TestWhyCommand(t *testing.T) { eachQueue(t, testWhyCommand) }

func testWhyCommand(t *testing.T, where string) {
	w := newOperated(t, where)
	first := w.send("first", "b@two.example") // nobody answers there
	eventually(t, "the first has been tried", func() bool { return len(w.became("deferred")) == 1 })
	second := w.send("second", "c@two.example")
	w.want(0, `^`+second+` held\n$`, "hold", second, "-for", "2d", "-reason", "looks odd")
	third := w.send("third", "d@two.example")
	eventually(t, "the third waits for its site", func() bool {
		list := w.why(third)
		return len(list) == 1 && list[0].Reason == "site-down"
	})
	fields := `^\{"id":"%s","recipient":"d@two.example","destination":"two.example","site":"[^"]*","state":"waiting","reason":"site-down",` +
		`"since":"[^"]+","until":"[^"]+","host":"mail.two.example","last":"[^"]*refused[^"]*"\}\n$`
	for _, runs := range []bool{true, false} {
		if !runs {
			w.relay.stop()
		}
		w.want(0, fmt.Sprintf(fields, third), "why", third, "-json")
		w.want(0, `^`+third+` d@two.example waiting, site-down since .* until .*: mail.two.example .*refused`, "why", third)
		if l := w.why(second); len(l) != 1 || l[0].State != "held" || l[0].Reason != "held" || l[0].Until == nil || l[0].Note != "looks odd" {
			t.Errorf("with a relay: %t, why of what is held: %+v", runs, l)
		}
		if l := w.why(first); len(l) != 1 || l[0].State != "waiting" || l[0].Reason != "schedule" || l[0].Until == nil || !strings.Contains(l[0].Last, "refused") {
			t.Errorf("with a relay: %t, why of what was tried: %+v", runs, l)
		}
		if l := w.why("TWO.example"); len(l) != 3 || l[0].ID != first || l[1].ID != second || l[2].ID != third {
			t.Errorf("with a relay: %t, why of the domain: %+v", runs, l)
		}
		w.want(0, `^$`, "why", "nobody.example")
		w.want(cli.ExitData, `^$`, "why", "nosuch")
		w.want(0, `"hold":\{"since":"[^"]+","until":"[^"]+","reason":"looks odd"\}`, "show", second, "-json")
	}
}

// TestFailCommand ends mail with a report, in a relay that runs and in a queue on its own.
func TestFailCommand(t *testing.T) { eachQueue(t, testFailCommand) }

func testFailCommand(t *testing.T, where string) {
	w := newOperated(t, where)
	first, second := w.send("first", "b@two.example"), w.send("second", "c@two.example")
	w.want(0, `^`+first+` failed\n$`, "fail", first, "-reason", "the account is closed")
	w.want(cli.ExitData, `^$`, "fail", first)
	eventually(t, "the sender has the report", func() bool { return len(w.org.Messages()) == 1 })
	if report := string(w.org.Messages()[0].Content); !strings.Contains(report, "the account is closed") || !strings.Contains(report, "b@two.example") {
		t.Errorf("the report is:\n%s", report)
	}
	if got := w.became("failed"); len(got) != 1 || got[0] != "b@two.example" {
		t.Errorf("failed, by the events: %q", got)
	}
	w.relay.stop()
	w.want(0, `^\{"failed":true,"id":"`+second+`"\}\n$`, "fail", second, "-json")
	out, _, _ := queueCommand(w.dir, "list", "-json")
	if left := entries(t, out); len(left) != 1 || left[0].From != "" {
		t.Fatalf("%s is left, want the report", out)
	}
	w.world.relay("-queue", w.dir)
	eventually(t, "the sender has the second report", func() bool { return len(w.org.Messages()) == 2 })
}

// TestSuspendCommand leaves a domain or a site alone, over a restart of the relay.
func TestSuspendCommand(t *testing.T) { eachQueue(t, testSuspendCommand) }

func testSuspendCommand(t *testing.T, where string) {
	w := newOperated(t, where)
	w.want(0, `^Example.com suspended until .*\n$`, "suspend", "Example.com", "-for", "1h", "-reason", "they asked for it")
	id := w.send("first", "b@example.com")
	w.want(0, `^$|`, "list")
	for _, runs := range []bool{true, false} {
		if !runs {
			w.relay.stop()
		}
		if l := w.why(id); len(l) != 1 || l[0].State != "waiting" || l[0].Reason != "suspended" || l[0].Until == nil || l[0].Note != "they asked for it" {
			t.Errorf("with a relay: %t, why of what is suspended: %+v", runs, l)
		}
		w.want(0, `(?m)^\{"kind":"destination","name":"example.com","since":"[^"]+","until":"[^"]+","reason":"they asked for it"\}$`, "suspensions", "-json")
	}
	if got := w.became("suspended"); len(got) == 0 || got[0] != "example.com" {
		t.Errorf("suspended, by the events: %q", got)
	}
	w.relay = w.world.relay("-queue", w.dir, "-warn", "0", "-events", w.events)
	w.client = w.relay.client("127.0.0.1")
	other := w.send("second", "c@example.org")
	eventually(t, "other mail goes out", func() bool { return len(w.org.Messages()) == 1 })
	if n := len(w.com.Messages()); n != 0 || other == "" {
		t.Errorf("%d messages went to a domain that is suspended", n)
	}
	w.want(0, `^\{"name":"example.com","resumed":true\}\n$`, "resume", "example.com", "-json")
	eventually(t, "the mail goes out", func() bool { return len(w.com.Messages()) == 1 })
	w.want(cli.ExitData, `^$`, "resume", "example.com")
	if got := w.became("resumed"); len(got) == 0 {
		t.Error("no event tells that it was resumed")
	}
	w.want(0, `^mail.example.com suspended\n$`, "suspend", "mail.example.com")
	id = w.send("third", "b@example.com")
	eventually(t, "its site is known to be suspended", func() bool {
		l := w.why(id)
		return len(l) == 1 && l[0].Reason == "suspended" && l[0].Site == "mail.example.com"
	})
	if n := len(w.com.Messages()); n != 1 {
		t.Errorf("%d messages went to a site that is suspended", n-1)
	}
	out, _ := command("sites", "-queue", w.dir, "-json").Output()
	if !regexp.MustCompile(`^\{"site":"mail.example.com","destinations":\["example.com"\],"waiting":1,"connections":\d+,"window":\d+,"state":"suspended",` +
		`"until":null,"reason":"","host":"","last":""\}\n$`).Match(out) {
		t.Errorf("the sites are %s", out)
	}
	w.want(0, `^mail.example.com resumed\n$`, "resume", "mail.example.com")
	eventually(t, "the mail goes out", func() bool { return len(w.com.Messages()) == 2 })
	w.want(0, `^$`, "suspensions")
}

// TestSitesCommand: what is known of sites, from a relay that runs and from a queue on
// its own.
func TestSitesCommand(t *testing.T) { eachQueue(t, testSitesCommand) }

func testSitesCommand(t *testing.T, where string) {
	w := newOperated(t, where)
	w.send("first", "b@two.example")
	eventually(t, "the first has been tried", func() bool { return len(w.became("deferred")) == 1 })
	id := w.send("second", "c@sub.two.example")
	eventually(t, "the second waits for its site", func() bool {
		l := w.why(id)
		return len(l) == 1 && l[0].Reason == "site-down"
	})
	out, _ := command("sites", "-queue", w.dir, "-json").Output()
	if !regexp.MustCompile(`"site":"[^"]*mail.two.example[^"]*","destinations":\["sub.two.example"(,"two.example")?\],"waiting":\d,"connections":0,"window":1,` +
		`"state":"site-down","until":"[^"]+","reason":"","host":"mail.two.example","last":"[^"]*refused[^"]*"\}`).Match(out) {
		t.Errorf("the sites are %s", out)
	}
	w.relay.stop()
	out, _ = command("sites", "-queue", w.dir, "-json").Output()
	if !regexp.MustCompile(`(?m)^\{"site":"","destinations":\["sub.two.example"\],"waiting":1,.*"state":"site-down","until":"[^"]+".*"host":"mail.two.example"`).Match(out) {
		t.Errorf("without a relay the sites are %s", out)
	}
	if out, err := command("sites", "-queue", w.dir).Output(); err != nil || !strings.Contains(string(out), "sub.two.example") {
		t.Errorf("sites prints %s, %v", out, err)
	}
}

// TestMatch does to all that conditions name what can be done to one message, and counts
// first, in a relay that runs and in a queue on its own.
func TestMatch(t *testing.T) { eachQueue(t, testMatch) }

func testMatch(t *testing.T, where string) {
	w := newOperated(t, where)
	for i := range 6 {
		w.send(fmt.Sprint("number ", i), fmt.Sprintf("b%d@two.example", i), fmt.Sprintf("c%d@sub.two.example", i))
	}
	eventually(t, "they wait", func() bool { return len(w.why("two.example")) == 6 })
	match := "from=@EXAMPLE.org,domain=two.example"
	for _, runs := range []bool{true, false} {
		if !runs {
			w.relay.stop()
		}
		w.want(0, `^\{"dry-run":true,"messages":6,"recipients":6\}\n$`, "hold", "-match", match, "-dry-run", "-json")
		w.want(0, `^0 messages with 0 recipients match; nothing was changed\n$`, "release", "-match", match, "-dry-run")
		w.want(0, `^6 held\n$`, "hold", "-match", match, "-reason", "why", "-for", "1d")
		w.want(0, `^6 messages with 6 recipients match; nothing was changed\n$`, "release", "-match", match, "-dry-run")
		w.want(0, `^\{"released":6\}\n$`, "release", "-match", match, "-json")
		w.want(0, `^\{"released":0\}\n$`, "release", "-match", match, "-json")
		w.want(0, `^0 held\n$`, "hold", "-match", "older=2d")
		w.want(0, `^0 failed\n$`, "fail", "-match", "tenant=nobody")
		w.want(0, `^0 dropped\n$`, "drop", "-match", "class=5.7")
		w.want(0, `^\d+ flushed\n$`, "flush", "-match", "older=0s,from=alice@example.org")
	}
	w.want(0, `^\{"failed":6\}\n$`, "fail", "-match", "domain=sub.two.example", "-reason", "closed", "-json")
	w.want(0, `^6 dropped\n$`, "drop", "-match", "domain=TWO.example")
	out, _, _ := queueCommand(w.dir, "list", "-json")
	for _, e := range entries(t, out) {
		if e.From != "" {
			t.Errorf("%+v is left, want reports alone", e)
		}
	}
	if n := strings.Count(out, "\n"); n != 6 {
		t.Errorf("%d reports are left, want 6", n)
	}
	for _, c := range [][]string{
		{"hold", "-match", "domain"}, {"hold", "-match", "colour=red"}, {"hold", "-match", "domain=a..b"}, {"hold", "-match", ""},
		{"hold", "-match", "older=x"}, {"hold", "-match", "class=spam"}, {"hold", "-match", "tenant=a,tenant=b"},
		{"hold", "-match", "tenant=a", "-match", "tenant=b"}, {"hold", "id", "-match", "tenant=a"}, {"show", "-match", "tenant=a"},
		{"hold", "id", "-dry-run"}, {"fail", "id", "-for", "1h"}, {"drop", "id", "-reason", "x"}, {"hold", "id", "-for", "soon"},
		{"suspend"}, {"resume"}, {"why"}, {"fail"}, {"suspensions", "x"},
	} {
		w.want(cli.ExitUsage, `^$`, c...)
	}
}
