package tlsrpt_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// reportByMail is the message that the report of golden comes in.
func reportByMail(t *testing.T) *queue.Message {
	t.Helper()
	const domain = "xn--bcher-kva.test"
	var m *queue.Message
	bubble(t, "_smtp._tls."+domain+" TXT \"v=TLSRPTv1; rua=mailto:tls-reports@b%C3%BCcher.test\"\n", func(t *testing.T, w *world) {
		r := w.reporter()
		w.run(r)
		r.Counts.Merge(today(), goldenTallies())
		until(1, 6*time.Hour)
		m = w.letters()[0]
	})
	return m
}

func TestReportByMail(t *testing.T) {
	m := reportByMail(t)
	text := queue.BytesOf(m.Content)
	msg, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("TLS-47 the fields of the header", func(t *testing.T) {
		for field, want := range map[string]string{
			"From": "tls@send.test", "To": "tls-reports@xn--bcher-kva.test", "TLS-Report-Domain": "xn--bcher-kva.test",
			"TLS-Report-Submitter": "send.test", "TLS-Required": "No", "MIME-Version": "1.0", "Auto-Submitted": "auto-generated",
		} {
			if got := msg.Header[textproto.CanonicalMIMEHeaderKey(field)]; len(got) != 1 || got[0] != want {
				t.Errorf("%s is %q, want %q", field, got, want)
			}
		}
		if at, err := msg.Header.Date(); err != nil || at.Before(time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC)) || at.After(time.Date(2000, 1, 2, 5, 0, 0, 0, time.UTC)) {
			t.Errorf("Date is %v, %v", at, err)
		}
		if !bytes.Contains(text, []byte("\r\nSubject: Report Domain: xn--bcher-kva.test\r\n Submitter: send.test\r\n Report-ID: <2000-01-01.")) {
			t.Errorf("Subject is %q", msg.Header.Get("Subject"))
		}
		if id := msg.Header.Get("Message-ID"); !strings.HasPrefix(id, "<2000-01-01.") || !strings.HasSuffix(id, "@send.test>") {
			t.Errorf("Message-ID is %q", id)
		}
	})
	t.Run("TLS-45, TLS-46, TLS-47 the parts", func(t *testing.T) {
		kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
		if err != nil || kind != "multipart/report" || params["report-type"] != "tlsrpt" {
			t.Fatalf("Content-Type is %s, %v, %v", kind, params, err)
		}
		parts := multipart.NewReader(msg.Body, params["boundary"])
		first, err := parts.NextRawPart()
		if err != nil || first.Header.Get("Content-Type") != "text/plain; charset=us-ascii" {
			t.Fatalf("the first part is %v, %v", first.Header, err)
		}
		people, err := io.ReadAll(first)
		if err != nil || !strings.Contains(string(people), "sts of xn--bcher-kva.test: 0 sessions successful, 2 failed\r\n    sts-policy-fetch-error: 2\r\n") {
			t.Errorf("for people it says\n%s, %v", people, err)
		}
		second, err := parts.NextRawPart()
		if err != nil || second.Header.Get("Content-Type") != "application/tlsrpt+gzip" || second.Header.Get("Content-Transfer-Encoding") != "base64" {
			t.Fatalf("the second part is %v, %v", second.Header, err)
		}
		if got, want := second.FileName(), "send.test!xn--bcher-kva.test!946684800!946771199.json.gz"; got != want {
			t.Errorf("the file is %q, want %q", got, want)
		}
		packed, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, second))
		if err != nil {
			t.Fatal(err)
		}
		report, err := tlsrpt.ParseReport(packed)
		if err != nil || len(report.Policies) != 3 || report.ContactInfo != "tls@send.test" {
			t.Errorf("the report is %+v, %v", report, err)
		} else if !strings.Contains(msg.Header.Get("Subject"), "Report-ID: <"+report.ReportID+">") {
			t.Errorf("the report is %q, and the subject says %q", report.ReportID, msg.Header.Get("Subject"))
		}
		if _, err := parts.NextRawPart(); !errors.Is(err, io.EOF) {
			t.Errorf("there is more: %v", err)
		}
	})
	t.Run("TLS-47 all is ASCII, in short lines", func(t *testing.T) {
		for line := range strings.SplitSeq(string(text), "\r\n") {
			if len(line) > 998 || strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c > '~' }) {
				t.Errorf("line is %q", line)
			}
		}
	})
	t.Run("TLS-48 the envelope", func(t *testing.T) {
		if m.TLS != queue.TLSOptional || m.From != "tls@send.test" || m.Recipients[0].Notify != queue.NotifyNever || m.Key == "" {
			t.Errorf("message is %+v", m)
		}
		if m.Metadata[tlsrpt.PurposeKey] != tlsrpt.Purpose {
			t.Errorf("TLS-47 whoever signs is told %v", m.Metadata)
		}
	})
}

// A domain whose hosts cannot prove who they are gets its report all the same, and the
// report is in no report.
func TestReportsAreHeldUpByNoPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := &smtptest.Host{Extensions: []string{"STARTTLS"}}
		net := &smtptest.Internet{
			Zone: `
				e.test               MX   10 mx.e.test.
				mx.e.test            A    192.0.2.25
				_25._tcp.mx.e.test   TLSA 3 1 1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
				_smtp._tls.e.test    TXT  "v=TLSRPTv1; rua=mailto:tls@e.test"`,
			Signed: map[string]bool{"e.test": true}, Hosts: map[string]*smtptest.Host{"mx.e.test": host},
		}
		defer net.Close()
		var counts tlsrpt.Counts
		var signed []string
		agent := &delivery.Agent{
			Queue: &memory.Queue{},
			Sender: &delivery.Sender{
				Resolver: net, Dial: net.DialContext, Policy: &trust.Source{Resolver: net},
				Trace: &delivery.Trace{Decided: func(d *delivery.Decision) { d.Count(&counts) }},
			},
			Sign: func(_ context.Context, m *queue.Message) (queue.Content, error) {
				signed = append(signed, m.Metadata[tlsrpt.PurposeKey])
				return m.Content, nil
			},
		}
		reporter := &tlsrpt.Reporter{Counts: &counts, Submitter: tlsrpt.Submitter{Contact: "tls@send.test"}, Resolver: net, Mail: agent}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() { ended <- agent.Run(ctx) }()
		go func() { ended <- reporter.Run(ctx) }()
		if _, err := agent.Submit(ctx, &queue.Message{
			From: "me@send.test", Recipients: []queue.Recipient{{Address: "you@e.test"}}, Content: queue.String("Subject: x\r\n\r\nx\r\n"),
		}); err != nil {
			t.Fatal(err)
		}
		until(0, 20*time.Hour)
		counted := counts.Tallies(today())
		if len(host.Received()) != 0 || len(counted) != 1 || counted[0].Failures == 0 || counted[0].Successes != 0 {
			t.Fatalf("%d messages are delivered, counted is\n%s", len(host.Received()), lines(counted))
		}
		// The message is given up after five days; a report comes for each until then.
		until(8, 0)
		stop()
		<-ended
		<-ended
		reports := 0
		for _, got := range host.Received() {
			if bytes.Contains(got.Content, []byte("\r\nTLS-Report-Domain: e.test\r\n")) {
				reports++
			}
		}
		if reports < 5 || reports > 6 || len(host.Received()) != reports {
			t.Errorf("TLS-48 %d reports of %d messages are delivered", reports, len(host.Received()))
		}
		if last := counts.Tallies(today() - 1); last != nil {
			t.Errorf("TLS-48 what is left to count are reports:\n%s", lines(last))
		}
		if n := len(slices.DeleteFunc(slices.Clone(signed), func(purpose string) bool { return purpose != tlsrpt.Purpose })); n != reports || signed[0] != "" {
			t.Errorf("TLS-47 signed are %q", signed)
		}
	})
}
