package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestAsSendmail: with -t the recipients are in the message, which is completed.
func TestAsSendmail(t *testing.T) {
	host := &smtptest.Host{Extensions: []string{"PIPELINING", "DSN"}}
	w := build(t, host)
	send := func(message string, args ...string) (smtptest.Message, string) {
		t.Helper()
		before := len(host.Messages())
		if out, errs, code := w.mxsend(t, message, args...); code != 0 {
			t.Fatalf("exit code %d: %s%s", code, out, errs)
		}
		got := host.Messages()[before]
		return got, string(got.Content)
	}
	got, content := send("To: b@e.test\nCc: C <c@e.test>\nBcc: d@e.test\nSubject: s\n\nbody\n.\nmore\n", "-t", "-i", "-oi", "-f", "a@e.test", "-F", "A User", "x@e.test", "b@e.test")
	if got.From != "a@e.test" || !slices.Equal(got.To(), []string{"x@e.test", "b@e.test", "c@e.test", "d@e.test"}) {
		t.Errorf("from %q to %q", got.From, got.To())
	}
	if strings.Contains(content, "Bcc") || strings.Contains(content, "d@e.test") || !strings.HasSuffix(content, "\r\n\r\nbody\r\n.\r\nmore\r\n") ||
		!strings.Contains(content, "\r\nFrom: A User <a@e.test>\r\nDate: ") || !strings.Contains(content, "@us.test>\r\n") {
		t.Errorf("%q", content)
	}
	if got, content := send("To: b@e.test\n\n", "-t"); !strings.HasSuffix(got.From, "@us.test") || !strings.Contains(content, "From: "+got.From+"\r\n") {
		t.Errorf("without -f it is from %q: %q", got.From, content)
	}
	if got, content := send("To: b@e.test\n\n", "-t", "-f", ""); got.From != "" || !strings.Contains(content, "@us.test\r\nDate: ") {
		t.Errorf("with the null sender it is from %q: %q", got.From, content)
	}
	if _, content := send("From: z@e.test\nDate: d\nMessage-ID: <i@e>\n\nx\n", "-f", "a@e.test", "-F", "not used", "b@e.test"); content != "From: z@e.test\r\nDate: d\r\nMessage-ID: <i@e>\r\n\r\nx\r\n" {
		t.Errorf("without -t it is %q", content)
	}
	if _, content := send("Bcc: z@e.test\n\nx\n", "-f", "a@e.test", "b@e.test"); content != "Bcc: z@e.test\r\n\r\nx\r\n" {
		t.Errorf("without -t it is %q", content)
	}
	got, _ = send("To: b@e.test\n\n", "-t", "-f", "a@e.test", "-notify", "success,delay", "-ret", "hdrs", "-envid", "id 1")
	if !slices.Contains(got.Params, "RET=HDRS") || !slices.Contains(got.Params, "ENVID=id+201") || !slices.Contains(got.Recipients[0].Params, "NOTIFY=SUCCESS,DELAY") {
		t.Errorf("MAIL has %q, RCPT %q", got.Params, got.Recipients[0].Params)
	}
	host.Check(t)
	for name, c := range map[string]struct {
		message string
		args    []string
		code    int
	}{
		"nobody":                     {"Subject: s\n\nx\n", []string{"-t", "-f", "a@e.test"}, 64},
		"no list of addresses":       {"To: a b\n\nx\n", []string{"-t", "-f", "a@e.test"}, 65},
		"no address":                 {"To: a@@b\n\nx\n", []string{"-t", "-f", "a@e.test"}, 65},
		"-explain":                   {"", []string{"-t", "-explain", "b@e.test"}, 64},
		"no such occasion":           {"", []string{"-notify", "often", "-f", "a@e.test", "b@e.test"}, 64},
		"never and something":        {"", []string{"-notify", "never,success", "-f", "a@e.test", "b@e.test"}, 64},
		"no such part of a message":  {"", []string{"-ret", "body", "-f", "a@e.test", "b@e.test"}, 64},
		"a header that does not end": {strings.Repeat("To: b@e.test\n", 100_000), []string{"-t", "-f", "a@e.test"}, 65},
	} {
		t.Run(name, func(t *testing.T) {
			if out, errs, code := w.mxsend(t, c.message, c.args...); code != c.code {
				t.Errorf("exit code %d, want %d: %s%s", code, c.code, out, errs)
			}
		})
	}
}

// TestToldToStop: mxsend does not wait for the rest of its input once it is told to stop.
func TestToldToStop(t *testing.T) {
	for _, more := range [][]string{nil, {"-t"}} {
		ctx, stop := context.WithCancel(t.Context())
		in, writer := io.Pipe()
		go func() {
			_, _ = io.WriteString(writer, "To: b@example.com\n") // which returns when it is read
			stop()
		}()
		var errs strings.Builder
		args := append(more, "-dns", "127.0.0.1:9", "-f", "a@example.org", "c@example.com")
		if code := run(ctx, args, in, io.Discard, &errs); code != 75 {
			t.Errorf("%q: exit code %d, want 75: %s", args, code, errs.String())
		}
		writer.Close()
	}
}
