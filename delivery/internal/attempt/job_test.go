package attempt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// unreadable is content that cannot be read just now.
type unreadable struct{}

func (unreadable) Open() (io.ReadCloser, error) { return nil, errors.New("disk") }
func (unreadable) Size() int64                  { return 5 }

// TestAccept is what is wrong with a message at the door.
func TestAccept(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(m *queue.Message)
		verdict  Verdict
		enhanced string // of the message; empty where it is taken
		want     string // what becomes of the recipients
	}{
		{"nothing", func(*queue.Message) {}, 0, "", "u failed by mx1 5.1.1; mx1@1 refused 5.1.1, settled\n"},
		{"no recipients", func(m *queue.Message) { m.Recipients = nil }, Refused, "5.1.0", ""},
		{"no content", func(m *queue.Message) { m.Content = nil }, Refused, "5.6.0", "u failed 5.6.0\n"},
		{"a reverse-path that is none", func(m *queue.Message) { m.From = "a@" }, Refused, "5.1.7", "u failed 5.1.7\n"},
		{"a line that is too long", func(m *queue.Message) { m.Content = queue.String("S: s\r\n\r\n" + strings.Repeat("x", 999) + "\r\n") }, Refused, "5.6.0", "u failed 5.6.0\n"},
		{"content that cannot be read", func(m *queue.Message) { m.Content = unreadable{} }, NotNow, "4.3.0", "u deferred 4.3.0\n"},
		{"a recipient that is none keeps its own reason", func(m *queue.Message) {
			m.Content, m.Recipients = unreadable{}, append(m.Recipients, queue.Recipient{Address: "v@"})
		}, NotNow, "4.3.0", "u deferred 4.3.0\nv@ failed 5.1.2\n"},
	} {
		tour(t, c.name, []*smtptest.Host{says(smtptest.Rcpt, "550 5.1.1 who")}, func(tr *trip) {
			m := to("u")
			c.change(m)
			job := tr.config.Job(m, new(diary), &Options{})
			f := job.Accept(t.Context())
			if (f != nil) != (c.enhanced != "") || f != nil && (f.Enhanced != c.enhanced || f.Verdict != c.verdict || f.Stage != StageMessage) {
				t.Errorf("%+v, want %s", f, c.enhanced)
			}
			job.Release()
			if got := tr.send(tr.t.Context(), m); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

// TestValidateEnvelope is the same of the envelope alone, without a job.
func TestValidateEnvelope(t *testing.T) {
	for _, c := range []struct {
		from  string
		to    []string
		want  string
		about string
	}{
		{"a@from.test", []string{"u@e.test"}, "", ""},
		{"", []string{"u@e.test", "v@e.test"}, "", ""},
		{"a@from.test", nil, "5.1.0", ""},
		{"a@", []string{"u@e.test"}, "5.1.7", ""},
		{"", []string{"u@e.test", "@e.test"}, "5.1.3", "@e.test"},
	} {
		m := &queue.Message{From: c.from}
		for _, a := range c.to {
			m.Recipients = append(m.Recipients, queue.Recipient{Address: a})
		}
		f := ValidateEnvelope(m)
		if (f == nil) != (c.want == "") || f != nil && (f.Enhanced != c.want || f.Verdict != Refused || f.Recipient != c.about) {
			t.Errorf("from %q to %q: %+v, want %s", c.from, c.to, f, c.want)
		}
	}
}

// TestIsUTF8 is which messages are internationalized mail.
func TestIsUTF8(t *testing.T) {
	for _, c := range []struct {
		m    queue.Message
		want bool
	}{
		{queue.Message{From: "a@from.test", Recipients: []queue.Recipient{{Address: "u~\x7f@e.test"}}}, false},
		{queue.Message{UTF8: true}, true},
		{queue.Message{From: "é@from.test"}, true},
		{queue.Message{From: "\x80@from.test"}, true},
		{queue.Message{Recipients: []queue.Recipient{{Address: "u@e.test"}, {Address: "é@e.test"}}}, true},
	} {
		if got := IsUTF8(&c.m); got != c.want {
			t.Errorf("%+v: %t, want %t", c.m, got, c.want)
		}
	}
}

// TestDestinations is how recipients are put into walks.
func TestDestinations(t *testing.T) {
	for _, c := range []struct {
		together bool
		to       string
		want     []string
	}{
		{false, "u@e.test", []string{"e.test: 0"}},
		{false, "u@e.test v@E.test w@f.test x@e.test", []string{"e.test: 0 1 3", "f.test: 2"}},
		{false, "u@f.test u@e.test u@f.test", []string{"f.test: 0", "e.test: 1"}},
		{true, "u@e.test v@f.test w@e.test", []string{"e.test: 0 1 2"}},
		{false, "@e.test u@e.test", []string{"e.test: 1"}},
	} {
		for range 2 { // the second time with the memory of the first
			job := new(Config).Job(to(strings.Fields(c.to)...), new(diary), &Options{Together: c.together})
			job.Group()
			var got []string
			for i := range job.Walks() {
				w := &job.Walks()[i]
				s := w.Domain() + ":"
				for j := range w.ledger.rcpts {
					s += fmt.Sprintf(" %d", w.ledger.rcpts[j].index)
				}
				got = append(got, s)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s, together %t: %q, want %q", c.to, c.together, got, c.want)
			}
			job.Release()
		}
	}
}

// TestJobsAreWiped: nothing of a message is left in the job that the next one gets.
func TestJobsAreWiped(t *testing.T) {
	tour(t, "all recipients", []*smtptest.Host{host(smtptest.Cue{At: smtptest.Rcpt, Address: "v@e.test", Reply: "550 5.1.1 who"}), host()}, func(tr *trip) {
		for range 3 {
			tr.want("u v v", "u delivered by mx1"+reused(tr)+" taken, settled", "v failed by mx1 5.1.1"+reused(tr)+" refused 5.1.1, settled", "v failed by mx1 5.1.1"+reused(tr)+" refused 5.1.1, settled")
			job := tr.config.Job(to("x"), new(diary), &Options{})
			if len(job.Walks()) != 0 || len(job.Results()) != 1 || len(job.Results()[0].Attempts) != 0 || job.Results()[0].Outcome != 0 || len(job.repeats) != 0 {
				t.Errorf("%d walks, results %+v", len(job.Walks()), job.Results())
			}
			w := &job.alone[0]
			for _, r := range w.ledger.rcpts[:cap(w.ledger.rcpts)] {
				if r.result != nil {
					t.Errorf("%+v is left", r)
				}
			}
			for _, r := range w.batch[:cap(w.batch)] {
				if r != nil {
					t.Errorf("%+v is left", r)
				}
			}
			for _, f := range w.findings[:cap(w.findings)] {
				if f.err != nil || f.tried {
					t.Errorf("%+v is left", f)
				}
			}
			for _, r := range w.to[:cap(w.to)] {
				if !r.To.IsNull() {
					t.Errorf("%+v is left", r)
				}
			}
			job.Release()
		}
	})
}

// reused is how an attempt at the first host begins: on a kept session but the first
// time.
func reused(tr *trip) string {
	if len(tr.net.Dials()) > 0 {
		return "; mx1@1 again"
	}
	return "; mx1@1"
}

// TestNoRoute is what becomes of recipients where there is no route.
func TestNoRoute(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	lost := []mx.LeftOut{{Host: mx.Host{Name: "mx0.e.test"}, Reason: mx.LookupFailed}}
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		via  mx.Via
		want string
	}{
		{"anything", t.Context(), errors.New("x"), mx.ViaNone, "u deferred 4.4.3;  not now 4.4.3, no host left\n"},
		{"no such domain", t.Context(), &mx.Error{Kind: mx.NoSuchDomain, Enhanced: "5.1.2"}, mx.ViaMX, "u failed 5.1.2;  refused 5.1.2, no host left\n"},
		{"given up meanwhile", canceled, &mx.Error{Kind: mx.NoSuchDomain, Enhanced: "5.1.2"}, mx.ViaMX, "u deferred 5.1.2;  not now 5.1.2, canceled\n"},
		{"a smart host", t.Context(), &mx.Error{Kind: mx.DNSTrouble, Via: mx.ViaSmartHost, Enhanced: "4.4.3"}, mx.ViaSmartHost, "u deferred 4.4.3 via smarthost;  not now 4.4.3, no host left\n"},
		{"hosts that were left out", t.Context(), &mx.Error{Kind: mx.DNSTrouble, Enhanced: "4.4.3", LeftOut: lost}, mx.ViaMX, "u deferred 4.4.3; mx0 not now 4.4.3, next host;  not now 4.4.3, no host left\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			job := new(Config).Job(to("u"), new(diary), &Options{})
			defer job.Release()
			job.Group()
			job.Walks()[0].NoRoute(c.ctx, c.err)
			if got := show(job.Results()); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			if got := job.Results()[0].Via; got != c.via {
				t.Errorf("via %v, want %v", got, c.via)
			}
		})
	}
}

// TestObserver is what an Observer is told of the steps.
func TestObserver(t *testing.T) {
	tour(t, "steps", []*smtptest.Host{nil, host(smtptest.Cue{At: smtptest.Rcpt, Address: "v@e.test", Reply: "450 4.2.1 later"}), nil}, func(tr *trip) {
		tr.route.Fallback = func(context.Context) (mx.Route, error) { return mx.Route{}, errors.New("none") }
		tr.want("u v", "u delivered by mx2; mx1@1 not now 4.4.1, next address; mx2@2 taken, settled",
			"v deferred by mx2 4.2.1 via fallback; mx1@1 not now 4.4.1, next address; mx2@2 not now 4.2.1, next host; mx3@3 not now 4.4.1, fallback;  not now 4.4.3, no host left")
		want := []string{
			"e.test: u@e.test v@e.test: mx1@1 not now 4.4.1, next address",
			"e.test: u@e.test: mx2@2 taken, settled",
			"e.test: v@e.test: mx2@2 not now 4.2.1, next host",
			"e.test: v@e.test: mx3@3 not now 4.4.1, next address",
			"route of e.test: none, 0 hosts, none",
			"e.test: v@e.test:  not now 4.4.3, no host left",
		}
		if !slices.Equal(tr.diary.steps, want) {
			t.Errorf("told\n%s\nwant\n%s", strings.Join(tr.diary.steps, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestRequireTLSWalk is where a message with REQUIRETLS may go, and a report of one.
func TestRequireTLSWalk(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	secure := func(extensions ...string) *smtptest.Host {
		return &smtptest.Host{Name: "mx1.e.test", Authority: ca, Extensions: append(extensions, "STARTTLS"), Allow: []smtptest.Rule{smtptest.RuleNoQuit}}
	}
	for _, c := range []struct {
		name   string
		host   *smtptest.Host
		change func(tr *trip, m *queue.Message)
		want   string
		said   bool // MAIL had REQUIRETLS
	}{
		{"nobody vouches for the host", secure("REQUIRETLS"), func(tr *trip, _ *queue.Message) { tr.route.Secure = false }, "u failed by mx1 5.7.10; mx1 host refuses 5.7.10, no host left", false},
		{"DNSSEC vouches", secure("REQUIRETLS"), func(*trip, *queue.Message) {}, "u delivered by mx1; mx1@1 taken, settled", true},
		{"a smart host", secure("REQUIRETLS"), func(tr *trip, _ *queue.Message) { tr.route.Secure, tr.route.Via = false, mx.ViaSmartHost }, "u delivered by mx1 via smarthost; mx1@1 taken, settled", true},
		{"a policy vouches", secure("REQUIRETLS"), func(tr *trip, _ *queue.Message) {
			tr.route.Secure = false
			tr.config.Sessions.Policy = func(context.Context, *mx.Route, *mx.Host) (session.Policy, error) {
				return session.Policy{Vouched: true}, nil
			}
		}, "u delivered by mx1; mx1@1 taken, settled", true},
		{"no STARTTLS", host(), func(*trip, *queue.Message) {}, "u failed by mx1 5.7.10; mx1@1 host refuses 5.7.10, no host left", false},
		{"a certificate of nobody's", &smtptest.Host{Name: "mx1.e.test", Extensions: []string{"STARTTLS", "REQUIRETLS"}, Allow: []smtptest.Rule{smtptest.RuleNoQuit}}, func(*trip, *queue.Message) {}, "u failed by mx1 5.7.10; mx1@1 host refuses 5.7.10, no host left", false},
		{"no REQUIRETLS", secure(), func(*trip, *queue.Message) {}, "u failed by mx1 5.7.30; mx1@1 host refuses 5.7.30, no host left", false},
		{"STARTTLS refused for now", &smtptest.Host{Extensions: []string{"STARTTLS"}, Script: []smtptest.Cue{{At: smtptest.StartTLS, Reply: "454 4.7.0 not now"}}}, func(*trip, *queue.Message) {}, "u deferred by mx1 4.7.0; mx1@1 not now 4.7.0, no host left", false},
		{"a report goes in clear", host(), func(_ *trip, m *queue.Message) { m.From = "" }, "u delivered by mx1; mx1@1 taken, settled", false},
		{"a report under TLS that is not verified says nothing", secure("REQUIRETLS"), func(_ *trip, m *queue.Message) { m.From = "" }, "u delivered by mx1; mx1@1 taken, settled", false},
		{"a report under TLS that is says it", secure("REQUIRETLS"), func(tr *trip, m *queue.Message) { m.From, tr.config.Sessions.TLS = "", mx.TLSVerify }, "u delivered by mx1; mx1@1 taken, settled", true},
		{"but not where nobody vouches", secure("REQUIRETLS"), func(tr *trip, m *queue.Message) {
			m.From, tr.config.Sessions.TLS, tr.route.Secure = "", mx.TLSVerify, false
		}, "u delivered by mx1; mx1@1 taken, settled", false},
		{"nor where it is not offered", secure(), func(tr *trip, m *queue.Message) { m.From, tr.config.Sessions.TLS = "", mx.TLSVerify }, "u delivered by mx1; mx1@1 taken, settled", false},
		{"a message that does not ask for it", secure("REQUIRETLS"), func(tr *trip, m *queue.Message) { m.TLS, tr.config.Sessions.TLS = 0, mx.TLSVerify }, "u delivered by mx1; mx1@1 taken, settled", false},
	} {
		tour(t, "EXT-29 "+c.name, []*smtptest.Host{c.host}, func(tr *trip) {
			tr.route.Secure = true
			tr.config.Sessions.TLSConfig = &tls.Config{RootCAs: ca.Pool()}
			m := to("u")
			m.TLS = queue.TLSRequired
			c.change(tr, m)
			tr.same(tr.send(tr.t.Context(), m), c.want)
			if got := slices.ContainsFunc(c.host.Commands(), func(s string) bool { return strings.Contains(s, " REQUIRETLS") }); got != c.said {
				tr.t.Errorf("MAIL had REQUIRETLS: %t, want %t", got, c.said)
			}
		})
	}
}

// TestLoginIsRefused: a host that refuses our login is not asked at its other
// addresses, and one where we do not log in is another matter.
func TestLoginIsRefused(t *testing.T) {
	refuses := &smtptest.Host{Name: "mx1.e.test", Extensions: []string{"AUTH PLAIN"}, Users: map[string]string{"u": "other"}, Allow: []smtptest.Rule{smtptest.RuleAuthClear}}
	tour(t, "QUE-15 the next host follows", []*smtptest.Host{refuses, host(), host()}, func(tr *trip) {
		tr.route.Via = mx.ViaSmartHost
		tr.route.Hosts[0].Login, tr.route.Hosts[0].TLS = &smarthost.Login{User: "u", Password: "p"}, mx.TLSNone
		tr.route.Hosts[0].Addrs = append(tr.route.Hosts[0].Addrs, addressOf(2))
		tr.route.Hosts[1].Addrs = tr.route.Hosts[1].Addrs[:0]
		tr.want("u", "u delivered by mx3 via smarthost; mx1@1 not now 5.7.8, next host; mx3@3 taken, settled")
		tr.route.Hosts = tr.route.Hosts[:1]
		tr.route.Hosts[0].TLS = mx.TLSMay
		tr.want("u", "u deferred by mx1 4.3.5 via smarthost; mx1 not now 4.3.5, no host left")
	})
}
