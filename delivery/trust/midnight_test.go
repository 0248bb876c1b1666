package trust_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/queue"
)

// letterbox keeps reports that are sent by mail.
type letterbox struct {
	mu    sync.Mutex
	mails []*queue.Message
}

func (l *letterbox) Submit(_ context.Context, m *queue.Message) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mails = append(l.mails, m)
	return fmt.Sprint(len(l.mails)), nil
}

func (*letterbox) Signs() bool { return true }

// reports are what was sent: the day, whose domain, what counted, in order.
func (l *letterbox) reports(t *testing.T) (all []string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.mails {
		r := attached(t, queue.BytesOf(m.Content))
		day := tlsrpt.DayOf(r.DateRange.Start)
		if !r.DateRange.Start.Equal(day.Start()) || !r.DateRange.End.Equal(day.End()) {
			t.Errorf("a report is from %v to %v", r.DateRange.Start, r.DateRange.End)
		}
		for _, p := range r.Policies {
			all = append(all, fmt.Sprintf("%v %s %d/%d", day, p.Policy.Domain, p.Summary.Successful, p.Summary.Failed))
		}
	}
	slices.Sort(all)
	return all
}

// attached is the report in a message.
func attached(t *testing.T, content []byte) *tlsrpt.Report {
	t.Helper()
	msg, err := mail.ReadMessage(strings.NewReader(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	for parts := multipart.NewReader(msg.Body, params["boundary"]); ; {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		if part.Header.Get("Content-Transfer-Encoding") != "base64" {
			continue
		}
		data, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, part))
		if err != nil {
			t.Fatal(err)
		}
		report, err := tlsrpt.ParseReport(data)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
}

// TestSessionsAroundMidnight: a session counts on the day, in UTC, on which it is known what
// its TLS is worth, once, whenever it began and whenever the mail is settled.
func TestSessionsAroundMidnight(t *testing.T) {
	const late = 24*time.Hour - 100*time.Millisecond
	cases := []struct {
		domain string
		script []smtptest.Cue
		wrong  bool // the certificate
		again  bool // another message follows on the session after midnight
		want   string
	}{
		{domain: "before.test", want: "2000-01-01 %s 1/0"},
		{domain: "settled.test", script: []smtptest.Cue{{At: smtptest.Final, Delay: 10 * time.Second}}, want: "2000-01-01 %s 1/0"},
		{domain: "greeted.test", script: []smtptest.Cue{{At: smtptest.Banner, Delay: 200 * time.Millisecond}}, want: "2000-01-02 %s 1/0"},
		{domain: "starttls.test", script: []smtptest.Cue{{At: smtptest.StartTLS, Delay: time.Minute}}, want: "2000-01-02 %s 1/0"},
		{domain: "wrong.test", wrong: true, want: "2000-01-01 %s 0/1"},
		{domain: "wronger.test", wrong: true, script: []smtptest.Cue{{At: smtptest.Hello, Delay: 100 * time.Millisecond}}, want: "2000-01-02 %s 0/1"},
		{domain: "kept.test", again: true, want: "2000-01-01 %s 1/0"},
	}
	t.Run("TLS-43, TLS-46 all in the report of their day", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			var lines, want []string
			for i, c := range cases {
				certificate := w.certificate("mx." + c.domain)
				h := w.host("mx."+c.domain, certificate)
				h.Script = c.script
				record := tlsa(certificate)
				if c.wrong {
					record = otherTLSA
				}
				lines = append(lines, fmt.Sprintf("%[1]s. MX 10 mx.%[1]s.\nmx.%[1]s. A 192.0.2.%[2]d\n_25._tcp.mx.%[1]s. %[3]s\n_smtp._tls.%[1]s. TXT \"v=TLSRPTv1; rua=mailto:tls@%[1]s\"",
					c.domain, i+1, record))
				want = append(want, fmt.Sprintf(c.want, "mx."+c.domain))
			}
			w.start(lines...)
			var counts tlsrpt.Counts
			w.sender.Trace = &delivery.Trace{Decided: func(d *delivery.Decision) { d.Count(&counts) }}
			box := &letterbox{}
			reporter := &tlsrpt.Reporter{Counts: &counts, Submitter: tlsrpt.Submitter{Contact: "tls@from.test"}, Resolver: w.net, Mail: box}
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() {
				if err := reporter.Run(ctx); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
			pass(late)
			var sending sync.WaitGroup
			for _, c := range cases {
				sending.Go(func() {
					outcome := map[bool]queue.Outcome{false: queue.Delivered, true: queue.Deferred}[c.wrong]
					for range map[bool]int{false: 1, true: 2}[c.again] {
						if r := w.send("u@" + c.domain).Recipients[0]; r.Outcome != outcome {
							t.Errorf("%s: %v, %v", c.domain, r.Outcome, r.Err)
						}
						if c.again {
							pass(time.Second)
						}
					}
				})
			}
			sending.Wait()
			if n := len(w.net.Hosts["mx.kept.test"].Connections()); n != 1 {
				t.Errorf("%d connections for two messages", n)
			}
			pass(48 * time.Hour)
			cancel()
			running.Wait()
			slices.Sort(want)
			if got := box.reports(t); !slices.Equal(got, want) {
				t.Errorf("reports have\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	})
}

// TestReportsOfFailuresArrive: a domain whose records authenticate none of its hosts is told
// of that by mail to these hosts, and mail that says so is in no report.
func TestReportsOfFailuresArrive(t *testing.T) {
	t.Run("TLS-48 with other records", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			h := w.host("mx1.e.test", w.certificate("mx9.e.test"))
			w.web.set("e.test", "enforce", "mx9.e.test")
			w.start(oneMX, "_25._tcp.mx1 "+otherTLSA, sts("e.test", "1"), "_smtp._tls.e.test. TXT \"v=TLSRPTv1; rua=mailto:tls@e.test\"")
			var counts tlsrpt.Counts
			decided := w.sender.Trace.Decided
			w.sender.Trace.Decided = func(d *delivery.Decision) { decided(d); d.Count(&counts) }
			check(t, w.send("u@e.test"), queue.Deferred, "mx1.e.test", "none", "4.7.5")
			o, stop := w.run(delivery.Settings{})
			defer stop()
			reporter := &tlsrpt.Reporter{
				Counts: &counts, Submitter: tlsrpt.Submitter{Contact: "tls@from.test"}, Resolver: w.net, Mail: o.Agent, SignedLater: true,
			}
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() {
				if err := reporter.Run(ctx); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
			pass(5 * 24 * time.Hour)
			cancel()
			running.Wait()
			messages := h.Messages()
			if len(messages) != 1 || !slices.Equal(messages[0].To(), []string{"tls@e.test"}) {
				t.Fatalf("%d messages arrived, want the report: %v", len(messages), o.of(delivery.Deferred))
			}
			policies := attached(t, messages[0].Content).Policies
			for _, p := range policies {
				if p.Summary.Failed != 1 || p.Summary.Successful != 0 {
					t.Errorf("it has %+v", p)
				}
			}
			if len(policies) != 2 {
				t.Errorf("it has %d policies, want DANE and MTA-STS", len(policies))
			}
			if told := w.told(); len(told) != 1 {
				t.Errorf("%d decisions are told of, want that about the mail: %v", len(told), told)
			}
		})
	})
}
