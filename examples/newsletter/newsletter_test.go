package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

const zone = `
	example.com.           MX 10 mail.example.com.
	mail.example.com.      A  192.0.2.1
	example.net.           MX 10 a.mx.provider.example.
	a.mx.provider.example. A  192.0.2.2`

const message = "From: News <news@example.org>\nTo: {{.To}}\nSubject: News\n\nHello {{.To}}.\n"

// world is two mail hosts, and the files of a job.
type world struct {
	t     *testing.T
	net   *smtptest.Internet
	hosts map[string]*smtptest.Host
	job   job
	out   strings.Builder
}

func newWorld(t *testing.T, subscribers ...string) *world {
	w := &world{t: t, hosts: map[string]*smtptest.Host{
		"mail.example.com": {Script: []smtptest.Cue{
			{At: smtptest.Rcpt, Address: "gone@example.com", Reply: "550 5.1.1 No such user"},
		}},
		"a.mx.provider.example": {},
	}}
	w.net = (&smtptest.Internet{Zone: zone, Hosts: w.hosts}).Start(t)
	w.job = job{
		from: "news@example.org", issue: "1", spool: filepath.Join(t.TempDir(), "spool"), expire: 48 * time.Hour,
		subscribers: w.file("subscribers", strings.Join(subscribers, "\n")), template: w.file("message", message),
		suppressed: w.file("suppressed", "never@example.com\n"), in: strings.NewReader(""), out: &w.out,
	}
	return w
}

func (w *world) file(name, text string) string {
	name = filepath.Join(w.t.TempDir(), name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return name
}

func (w *world) run(ctx context.Context) {
	w.t.Helper()
	w.job.sender = &delivery.Sender{Hello: "news.example.org", Resolver: w.net, Dial: w.net.DialContext}
	if err := w.job.run(ctx); err != nil {
		w.t.Error(err)
	}
}

func (w *world) want(host string, want ...string) {
	w.t.Helper()
	var got []string
	for _, m := range w.hosts[host].Messages() {
		got = append(got, m.To()...)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.t.Errorf("%s has mail for %q, want %q", host, got, want)
	}
}

func (w *world) said(text string) {
	w.t.Helper()
	if !strings.Contains(w.out.String(), text) {
		w.t.Errorf("it does not say %q:\n%s", text, w.out.String())
	}
}

func TestIssue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "bob@example.com", "# a comment", "", "Bob@Example.com", "never@example.com", "gone@example.com",
			"carol@example.net", "no address")
		w.run(t.Context())
		w.want("mail.example.com", "bob@example.com")
		w.want("a.mx.provider.example", "carol@example.net")
		w.said("2 delivered, 2 failed, 0 not yet, 1 skipped; deferred 0 times")
		w.said("no address: ")
		w.said("100%")
		w.said("(5/5")
		content := string(w.hosts["mail.example.com"].Messages()[0].Content)
		for _, text := range []string{"Date: ", "Message-ID: <", "To: bob@example.com\r\n", "\r\n\r\nHello bob@example.com.\r\n"} {
			if !strings.Contains(content, text) {
				t.Errorf("the message lacks %q:\n%s", text, content)
			}
		}
		list, err := os.ReadFile(w.job.suppressed)
		if want := "never@example.com\ngone@example.com\n# complete for "; err != nil || !strings.HasPrefix(string(list), want) {
			t.Errorf("suppressed are %q, %v, want %q", list, err, want)
		}
		w.job.issue = "2"
		w.run(t.Context())
		w.want("mail.example.com", "bob@example.com", "bob@example.com")
		w.said("2 delivered, 1 failed, 0 not yet, 2 skipped")
		w.net.Check(t)
	})
}

// TestInterrupted: a run that is interrupted goes on where it was, and nobody gets an
// issue twice.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "bob@example.com", "carol@example.net")
		w.net.Cut("mail.example.com")
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		w.run(ctx)
		w.want("a.mx.provider.example", "carol@example.net")
		w.said("1 delivered, 0 failed, 1 not yet")
		w.net.Heal("mail.example.com")
		w.run(t.Context())
		w.want("mail.example.com", "bob@example.com")
		w.want("a.mx.provider.example", "carol@example.net")
		w.said("1 delivered, 0 failed, 0 not yet, 2 skipped")
	})
}

// TestReplyLost: a copy that may have arrived is not sent again.
func TestReplyLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "bob@example.com")
		w.hosts["mail.example.com"].Script = []smtptest.Cue{{At: smtptest.Final, Then: smtptest.Close}}
		w.run(t.Context())
		if n := len(w.hosts["mail.example.com"].Received()); n != 1 {
			t.Errorf("%d copies were sent, want 1", n)
		}
		w.said("0 delivered, 1 failed, 0 not yet")
	})
}

func TestCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, keys := io.Pipe()
		defer keys.Close()
		w := newWorld(t, "bob@example.com", "carol@example.net")
		w.job.in = in
		w.net.Cut("mail.example.com", "a.mx.provider.example")
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.run(t.Context())
		}()
		say := func(line string) {
			if _, err := io.WriteString(keys, line+"\n"); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		say("pause Example.COM")
		say("pause")
		time.Sleep(10 * time.Minute) // what was in flight has ended
		w.net.Heal("mail.example.com", "a.mx.provider.example")
		time.Sleep(8 * time.Hour)
		w.want("mail.example.com")
		w.want("a.mx.provider.example")
		say("resume")
		time.Sleep(8 * time.Hour)
		w.want("mail.example.com")
		w.want("a.mx.provider.example", "carol@example.net")
		say("stop")
		say("pause not a domain")
		say("resume example.com")
		<-ended
		w.want("mail.example.com", "bob@example.com")
		w.said(`unknown command "stop"`)
	})
}

func TestProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a@example.net", "b@example.net", "c@example.net", "d@example.net")
		w.job.providers = make(map[string]delivery.Group)
		if err := w.job.provider("mx.provider.example=1,0.1"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w.run(t.Context())
		if took := time.Since(began); took < 30*time.Second || took > 2*time.Minute {
			t.Errorf("four messages at one in ten seconds took %v", took)
		}
		w.want("a.mx.provider.example", "a@example.net", "b@example.net", "c@example.net", "d@example.net")
	})
	for _, bad := range []string{"", "mx.example.net", "mx.example.net=5", "mx.example.net=a,1", "mx.example.net=1,b"} {
		if err := new(job).provider(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestBadInput(t *testing.T) {
	w := newWorld(t, "bob@example.com")
	for name, c := range map[string]struct {
		change func(*job)
		want   string
	}{
		"a message without a header":  {func(j *job) { j.template = w.file("m", "Hello.\n") }, "want a header with From"},
		"a template that is none":     {func(j *job) { j.template = w.file("m", message+"{{") }, "unclosed action"},
		"a field that is not there":   {func(j *job) { j.template = w.file("m", message+"{{.Name}}") }, "Name"},
		"no list of subscribers":      {func(j *job) { j.subscribers += "x" }, "no such file"},
		"a spool that is a file":      {func(j *job) { j.spool = j.template }, ""},
		"a list that may not be kept": {func(j *job) { j.suppressed = t.TempDir() }, "directory"},
	} {
		t.Run(name, func(t *testing.T) {
			j := w.job
			j.sender = new(delivery.Sender)
			c.change(&j)
			if err := j.run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
		})
	}
	if err := start(t.Context(), []string{"-from", "a@example.org", "x", "y"}, &w.out); err == nil || !strings.Contains(err.Error(), "-issue") {
		t.Errorf("without an issue: %v", err)
	}
}
