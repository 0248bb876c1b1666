package dsn_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nexthop-mail/nexthop/internal/dsn"
	"github.com/nexthop-mail/nexthop/internal/dsn/dsntest"
)

var zone = time.FixedZone("", 2*60*60)

const original = "From: a@from.test\r\nMessage-ID:\r\n <1@from.test>\r\nSubject: s\r\n\r\nbody\r\n"

// report is the usual one; content is what it is about.
func report(content string) *dsn.Report {
	return &dsn.Report{
		Reporter: "mail.from.test", From: "postmaster@from.test", To: "a@from.test",
		Date: time.Date(2026, 3, 4, 5, 6, 7, 0, zone), ID: "token@from.test", Token: "TOKEN",
		Arrived:  time.Date(2026, 3, 4, 5, 0, 0, 0, zone),
		Original: opener(content), MaxFull: 1000,
		Recipients: []dsn.Recipient{{
			Address: "JoHn@e.test", Status: "5.1.1", Remote: "mx1.e.test", Code: 550, Text: "no such user",
			LastAttempt: time.Date(2026, 3, 4, 5, 6, 0, 0, zone),
		}},
	}
}

func opener(content string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }
}

// TestManyRecipients: a report names so many recipients, says how many more there are,
// and repeats less of each reply the more they are.
func TestManyRecipients(t *testing.T) {
	for _, n := range []int{1, 30, 1000, 1001, 50_000} {
		r := report(original)
		one := r.Recipients[0]
		one.Text = strings.Repeat("\u00e4", 1024)
		r.Recipients = slices.Repeat([]dsn.Recipient{one}, n)
		got := read(t, r)
		if want := min(n, dsn.MaxRecipients); len(got.Recipients) != want {
			t.Errorf("%d recipients: %d are named, want %d", n, len(got.Recipients), want)
		}
		if more := fmt.Sprintf("about %d more recipients", n-dsn.MaxRecipients); strings.Contains(got.Text, more) != (n > dsn.MaxRecipients) {
			t.Errorf("%d recipients: %q is said: %t", n, more, strings.Contains(got.Text, more))
		}
		if whole := len(raw(t, r)); n > 1 && whole > 2<<20 {
			t.Errorf("%d recipients: the report has %d octets", n, whole)
		}
		if text := got.Recipients[0].Get("Diagnostic-Code"); (n > 30) != strings.HasSuffix(text, " ...") {
			t.Errorf("%d recipients: %q", n, text)
		}
	}
}

// raw is the report as it is sent.
func raw(t testing.TB, r *dsn.Report) []byte {
	t.Helper()
	source, err := r.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	b, err := io.ReadAll(iotest.OneByteReader(source))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// read is the report, taken apart.
func read(t testing.TB, r *dsn.Report) *dsntest.Report {
	t.Helper()
	b := raw(t, r)
	got, err := dsntest.Read(b)
	if err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	return got
}

func TestReport(t *testing.T) {
	t.Run("DSN-9 DSN-10 three parts, the first for people", func(t *testing.T) {
		r := report(original)
		r.Recipients = append(r.Recipients, dsn.Recipient{Address: "x@e.test", Text: "no such domain", Status: "5.1.2"})
		got := read(t, r)
		for _, want := range []string{"<JoHn@e.test>", "mx1.e.test said:", "550 no such user", "<x@e.test>", "no such domain"} {
			if !strings.Contains(got.Text, want) {
				t.Errorf("the text lacks %q:\n%s", want, got.Text)
			}
		}
		if len(got.Recipients) != 2 {
			t.Errorf("%d groups, want 2", len(got.Recipients))
		}
		if want := []string{"Reporting-MTA", "Arrival-Date"}; !slices.Equal(got.Message.Names(), want) {
			t.Errorf("fields about the message %q, want %q", got.Message.Names(), want)
		}
		want := []string{"Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date"}
		if !slices.Equal(got.Recipients[0].Names(), want) {
			t.Errorf("fields about a recipient %q, want %q", got.Recipients[0].Names(), want)
		}
	})
	t.Run("DSN-11 DSN-12 the header", func(t *testing.T) {
		h := read(t, report(original)).Header
		for name, want := range map[string]string{
			"From": "Mail delivery system <postmaster@from.test>", "To": "<a@from.test>",
			"Date": "Wed, 04 Mar 2026 05:06:07 +0200", "Message-ID": "<token@from.test>",
			"In-Reply-To": "<1@from.test>", "References": "<1@from.test>",
			"Auto-Submitted": "auto-replied", "MIME-Version": "1.0",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		for _, id := range []string{"", "<>", "no brackets", "<a b>", "<\x80>", "<" + strings.Repeat("x", 2000) + ">"} {
			if got := read(t, report("Message-ID: "+id+"\r\n\r\n")).Header.Get("In-Reply-To"); got != "" {
				t.Errorf("In-Reply-To %q of Message-ID %q", got, id)
			}
		}
	})
	t.Run("the same each time it is read", func(t *testing.T) {
		r := report(original)
		if a, b := raw(t, r), raw(t, r); !bytes.Equal(a, b) {
			t.Errorf("read once\n%s\nand again\n%s", a, b)
		}
	})
}

func TestMessageFields(t *testing.T) {
	for _, c := range []struct{ name, reporter, want string }{
		{"DSN-14 a name in DNS", "Mail.From.Test", "dns; mail.from.test"},
		{"DSN-14 a literal", "[IPv6:2001:db8::1]", "dns; [IPv6:2001:db8::1]"},
		{"DSN-14 a name that is not", "laptop", "x-local-hostname; laptop"},
		{"DSN-14 no name at all", "my host\r\nX: y", "x-local-hostname; my host  X: y"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := report(original)
			r.Reporter = c.reporter
			if got := read(t, r).Message.Get("Reporting-MTA"); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	t.Run("DSN-15 the envelope id, decoded, if there was one", func(t *testing.T) {
		r := report(original)
		if read(t, r).Message.Has("Original-Envelope-Id") {
			t.Error("one was made up")
		}
		r.EnvelopeID = "QQ+1"
		if got := read(t, r).Message.Get("Original-Envelope-Id"); got != "QQ+1" {
			t.Errorf("%q", got)
		}
	})
	t.Run("DSN-16 dates with a numeric zone", func(t *testing.T) {
		got := read(t, report(original))
		if d := got.Message.Get("Arrival-Date"); d != "Wed, 04 Mar 2026 05:00:00 +0200" {
			t.Errorf("Arrival-Date %q", d)
		}
		if d := got.Recipients[0].Get("Last-Attempt-Date"); d != "Wed, 04 Mar 2026 05:06:00 +0200" {
			t.Errorf("Last-Attempt-Date %q", d)
		}
		r := report(original)
		r.Recipients[0].LastAttempt = time.Time{}
		if read(t, r).Recipients[0].Has("Last-Attempt-Date") {
			t.Error("Last-Attempt-Date without an attempt")
		}
	})
}

func TestRecipientFields(t *testing.T) {
	until := time.Date(2026, 3, 9, 5, 0, 0, 0, zone)
	for _, c := range []struct {
		name        string
		recipient   dsn.Recipient
		field, want string // an empty want is a field that must not be there
	}{
		{"DSN-18 as accepted", dsn.Recipient{Address: "JoHn@E.test"}, "Final-Recipient", "rfc822; JoHn@E.test"},
		{"DSN-18 beyond ASCII", dsn.Recipient{Address: "j\u00f6+=@e.test"}, "Final-Recipient", `utf-8; j\x{F6}\x{2B}\x{3D}@e.test`},
		{"DSN-17 no ORCPT", dsn.Recipient{Address: "u@e.test"}, "Original-Recipient", ""},
		{"DSN-17 ORCPT", dsn.Recipient{OriginalType: "rfc822", Original: "Bob+x@e.test"}, "Original-Recipient", "rfc822; Bob+x@e.test"},
		{"DSN-17 ORCPT with a line end", dsn.Recipient{OriginalType: "rfc822", Original: "b\r\nX: y"}, "Original-Recipient", "rfc822; b  X: y"},
		{"DSN-19 failed", dsn.Recipient{}, "Action", "failed"},
		{"DSN-19 failed is not tried again", dsn.Recipient{RetryUntil: until}, "Will-Retry-Until", ""},
		{"DSN-19 delayed", dsn.Recipient{Action: dsn.Delayed}, "Action", "delayed"},
		{"DSN-19 delayed until", dsn.Recipient{Action: dsn.Delayed, RetryUntil: until}, "Will-Retry-Until", "Mon, 09 Mar 2026 05:00:00 +0200"},
		{"DSN-20 a status", dsn.Recipient{Status: "5.1.10"}, "Status", "5.1.10"},
		{"DSN-20 expired", dsn.Recipient{Status: "4.4.1"}, "Status", "4.4.1"},
		{"DSN-20 leading zeros", dsn.Recipient{Status: "5.01.1"}, "Status", "5.0.0"},
		{"DSN-20 none", dsn.Recipient{Action: dsn.Delayed}, "Status", "4.0.0"},
		{"DSN-20 a class that is no failure", dsn.Recipient{Status: "2.1.5"}, "Status", "5.0.0"},
		{"DSN-20 delayed is not permanent", dsn.Recipient{Status: "5.7.8", Action: dsn.Delayed}, "Status", "4.7.8"},
		{"DSN-23 a host replied", dsn.Recipient{Remote: "mx1.e.test", Code: 550}, "Remote-MTA", "dns; mx1.e.test"},
		{"DSN-23 no host did", dsn.Recipient{Remote: "mx1.e.test", Text: "refused"}, "Remote-MTA", ""},
		{"DSN-24 our own reason", dsn.Recipient{Text: "no such domain"}, "Diagnostic-Code", "x-nexthop; no such domain"},
		{"DSN-24 no reason", dsn.Recipient{}, "Diagnostic-Code", ""},
		{"DSN-24 octets", dsn.Recipient{Remote: "h.test", Code: 550, Text: "\u00e9\x1b\xff"}, "Diagnostic-Code", `smtp; 550 \x{E9}\x{1B}\x{FF}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := report(original)
			if c.recipient.Address == "" {
				c.recipient.Address = "u@e.test"
			}
			r.Recipients = []dsn.Recipient{c.recipient}
			got := read(t, r).Recipients[0]
			if got.Get(c.field) != c.want || got.Has(c.field) != (c.want != "") {
				t.Errorf("%s: %q, want %q", c.field, got.Get(c.field), c.want)
			}
		})
	}
	t.Run("DSN-24 lines of a reply", func(t *testing.T) {
		r := report(original)
		r.Recipients[0].Text = "5.1.1 a\n5.1.1\n5.1.1 " + strings.Repeat("b ", 600) + strings.Repeat("c", 2000)
		for _, f := range read(t, r).Recipients[0] {
			want := "Diagnostic-Code: smtp; 550-5.1.1 a\r\n 550-5.1.1\r\n 550 5.1.1 b b"
			if f.Name == "Diagnostic-Code" && !strings.HasPrefix(f.Raw, want) {
				t.Errorf("%q, want it to begin %q", f.Raw, want)
			}
		}
	})
}

var errRead = errors.New("damaged")
