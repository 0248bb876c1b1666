package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

// tlsReportsCommand is "relay tls-reports" on a directory: what it prints and its exit code.
func tlsReportsCommand(dir string, words ...string) (out, errs string, code int) {
	c := command(append([]string{"tls-reports", "-queue", dir}, words...)...)
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	_ = c.Run()
	return o.String(), e.String(), c.ProcessState.ExitCode()
}

// What the relay has counted is shown while it runs, after it has ended, and after others
// have counted more.
func TestTLSReportsAreCounted(t *testing.T) { eachQueue(t, testTLSReportsAreCounted) }

func testTLSReportsAreCounted(t *testing.T, dir string) {
	w := newWorld(t, zone)
	w.start("127.0.0.2", &smtptest.Host{Extensions: []string{"STARTTLS"}})
	w.start("127.0.0.5", &smtptest.Host{Extensions: []string{}})
	day := tlsrpt.DayOf(time.Now()) // midnight in the middle of this shows on both days
	count := func(words ...string) (out string) {
		for d := day; d <= tlsrpt.DayOf(time.Now()); d++ {
			text, errs, code := tlsReportsCommand(dir, append(words, "-day", d.String())...)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, errs)
			}
			out += text
		}
		return out
	}
	if got := count(); got != "" {
		t.Errorf("of a queue without a relay it shows %q", got)
	}
	for n := 1; n <= 2; n++ {
		r := w.relay("-queue", dir, "-tls-reports", "tls@relay.example.net")
		if _, err := submit(t, r.client("127.0.0.1"), "one", "b@example.com", "c@two.example"); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("example.com no-policy-found: %d successful, 0 failed\ntwo.example no-policy-found: 0 successful, %d failed\n"+
			"    %d starttls-not-supported (starttls-not-offered) at mail.two.example [127.0.0.5]\n", n, n, n)
		eventually(t, "both are counted", func() bool { return count() == want })
		r.stop()
		if got := count(); got != want {
			t.Errorf("after it has ended it shows\n%s", got)
		}
	}
	reports := json.NewDecoder(strings.NewReader(count("-json")))
	for _, domain := range []string{"example.com", "two.example"} {
		var text json.RawMessage
		if err := reports.Decode(&text); err != nil {
			t.Fatal(err)
		}
		report, err := tlsrpt.ParseReport(text)
		if err != nil || report.ContactInfo != "tls@relay.example.net" || report.Policies[0].Policy.Domain != domain ||
			report.Policies[0].Summary.Successful+report.Policies[0].Summary.Failed != 2 {
			t.Errorf("the report is %s, %v", text, err)
		}
	}
	if err := reports.Decode(new(any)); err != io.EOF {
		t.Errorf("there is more: %v", err)
	}
}

// Reports of earlier days that are still due are sent when the relay starts: over HTTPS, and
// by mail through a smart host.
func TestTLSReportsAreSent(t *testing.T) {
	var (
		mu    sync.Mutex
		posts = make(map[string]int) // by path
	)
	collector := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		report, err := tlsrpt.ParseReport(body)
		if err != nil || report.Policies[0].Summary.Successful != 7 {
			t.Errorf("the report is %+v, %v", report, err)
		}
		mu.Lock()
		defer mu.Unlock()
		posts[r.URL.Path]++
	}))
	defer collector.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: collector.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	// Each report has a time of its own. Of so many, some are due at once.
	const domains = 3000
	records := "example.com. 60 A 127.0.0.1\n"
	_, port, _ := strings.Cut(strings.TrimPrefix(collector.URL, "https://"), ":")
	var tallies []tlsrpt.Tally
	for i := range domains {
		name := fmt.Sprintf("d%d.example", i)
		records += fmt.Sprintf("_smtp._tls.%s. 60 TXT \"v=TLSRPTv1; rua=https://example.com:%s/%d,mailto:tls@%s\"\n", name, port, i, name)
		tallies = append(tallies, tlsrpt.Tally{Domain: name, Successes: 7})
	}
	w := newWorld(t, records)
	smart := &smtptest.Host{}
	w.start("127.0.0.8", smart)
	dir := t.TempDir()
	store := tlsrpt.Dir{Path: filepath.Join(dir, tlsReportsDir)}
	if err := store.Save(t.Context(), tlsrpt.DayOf(time.Now())-2, "before", tallies); err != nil {
		t.Fatal(err)
	}
	r := &process{t: t}
	c := command("-listen", "127.0.0.1:0", "-dns", w.dns.Addr(), "-loopback", "-helo", "relay.example.net", "-queue", dir,
		"-smarthost", "smtp://[127.0.0.8]:"+w.port+"?tls=none", "-tls-reports", "tls@relay.example.net")
	c.Env = append(os.Environ(), "SSL_CERT_FILE="+ca)
	r.launch(c)
	eventually(t, "reports are sent in both ways", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(posts) >= 2 && len(smart.Messages()) >= 2
	})
	r.stop()
	for path, n := range posts {
		if n != 1 {
			t.Errorf("%s has %d reports", path, n)
		}
	}
	for _, m := range smart.Messages() {
		if m.From != "tls@relay.example.net" || !bytes.Contains(m.Content, []byte("\r\nTLS-Required: No\r\n")) {
			t.Errorf("mail from %s is\n%s", m.From, m.Content)
		}
	}
}

func TestTLSReportsMistakes(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		words []string
		code  int
		says  string
	}{
		{[]string{"-tls-reports", "nobody"}, cli.ExitUsage, "-tls-reports"},
		{[]string{"-tls-reports", "tls@[192.0.2.1]"}, cli.ExitUsage, "-tls-reports"},
		{[]string{"tls-reports", "-queue", dir, "-day", "yesterday"}, cli.ExitUsage, "2006-01-02"},
		{[]string{"tls-reports", "-queue", dir, "now"}, cli.ExitUsage, `"now"`},
		{[]string{"tls-reports", "-queue", inMemory}, cli.ExitUsage, "memory"},
		{[]string{"tls-reports", "-queue", filepath.Join(dir, "none")}, cli.ExitConfig, "no such file"},
	} {
		p := command(c.words...)
		var errs bytes.Buffer
		p.Stderr = &errs
		_ = p.Run()
		if code := p.ProcessState.ExitCode(); code != c.code || !strings.Contains(errs.String(), c.says) {
			t.Errorf("relay %q: exit code %d, %s", c.words, code, errs.String())
		}
	}
}
