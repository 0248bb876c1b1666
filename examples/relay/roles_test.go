package main

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

const zone = `
example.com.       60 MX 10 mail.example.com.
example.com.       60 MX 20 mx2.example.com.
example.com.       60 MX 30 mx3.example.com.
two.example.       60 MX 5  mail.two.example.
two.example.       60 MX 20 mx2.example.com.
sub.two.example.   60 MX 5  mail.two.example.
example.org.       60 MX 10 mail.example.org.
nomail.example.    60 MX 0  .
mail.example.com.  60 A 127.0.0.2
mx2.example.com.   60 A 127.0.0.3
mx3.example.com.   60 A 127.0.0.4
mail.two.example.  60 A 127.0.0.5
mail.example.org.  60 A 127.0.0.6
`

func modern(name string) *smtptest.Host {
	return &smtptest.Host{Name: name, Extensions: []string{"PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "DSN"}}
}

// TestSubmission: a trusted client sends anywhere, and what arrives is what was sent,
// behind one Received field.
func TestSubmission(t *testing.T) {
	w := newWorld(t, zone)
	com, two := modern("mail.example.com"), modern("mail.two.example")
	w.start("127.0.0.2", com)
	w.start("127.0.0.5", two)
	for _, store := range []string{inMemory, t.TempDir()} {
		r := w.relay("-queue", store)
		if _, err := submit(t, r.client("127.0.0.1"), "to "+store, "b@example.com", "c@two.example"); err != nil {
			t.Fatal(err)
		}
		for _, h := range []*smtptest.Host{com, two} {
			eventually(t, "the message arrives", func() bool { return slices.Contains(subjects(h), "to "+store) })
		}
		r.stop()
	}
	m := com.Messages()[0]
	text := string(m.Content)
	if !strings.HasPrefix(text, "Received: from client.example.org ([127.0.0.1])\r\n\tby relay.example.net with ESMTP id ") ||
		strings.Count(text, "Received:") != 1 || !strings.HasSuffix(text, "\r\nSubject: to memory\r\n\r\nto memory\r\n") ||
		m.From != "alice@example.org" || m.Hello != "relay.example.net" {
		t.Errorf("from <%s>, EHLO %s:\n%s", m.From, m.Hello, text)
	}
	com.Check(t)
	two.Check(t)
}

// TestSecondaryMX: strangers reach the relay domains and nothing else, the mail waits
// while the primary is down, and goes to hosts that are better than this one only.
func TestSecondaryMX(t *testing.T) {
	w := newWorld(t, zone)
	worse, two := modern("mx3.example.com"), modern("mail.two.example")
	w.start("127.0.0.4", worse)
	w.start("127.0.0.5", two)
	dir := t.TempDir()
	r := w.relay("-queue", dir, "-trust", "192.0.2.0/24", "-relay-domain", "example.com", "-relay-domain", "Two.Example.",
		"-relay-domain", ".two.example", "-retry", "1h", "-warn", "0")
	stranger := r.client("127.0.0.9")
	for _, address := range []string{"x@example.org", "x@sub.example.com", "x@notexample.com", "x@[127.0.0.5]"} {
		report, err := submit(t, stranger, "strange", address)
		if err == nil || report.Recipients[0].Reply.Code != 550 || report.Recipients[0].Reply.Enhanced != "5.7.1" {
			t.Errorf("%s from a stranger: %+v, want 550 5.7.1", address, report.Recipients[0].Reply)
		}
	}
	if _, err := submit(t, stranger, "kept", "a@EXAMPLE.com", "b@two.example", "c@sub.two.example"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other domains' mail arrives, together or not", func() bool {
		n := 0
		for _, m := range two.Messages() {
			n += len(m.Recipients)
		}
		return n == 2
	})
	eventually(t, "the primary was tried", func() bool {
		out, _, _ := queueCommand(dir, "list", "-json")
		return strings.Contains(out, `"status":"deferred","attempts":1`)
	})
	primary := modern("mail.example.com")
	w.start("127.0.0.2", primary)
	if out, errs, code := queueCommand(dir, "flush", "example.com"); code != 0 || out != "1 due now\n" {
		t.Errorf("flush: %d %q %q", code, out, errs)
	}
	eventually(t, "the primary has it", func() bool { return slices.Equal(subjects(primary), []string{"kept"}) })
	if n := len(worse.Connections()); n != 0 {
		t.Errorf("%d connections to a host that is worse than this one", n)
	}
	r.stop()
	primary.Check(t)
	two.Check(t)
}

// TestSmartHost: everything goes to the one next hop, whatever DNS says.
func TestSmartHost(t *testing.T) {
	w := newWorld(t, zone)
	smart, com := modern("smart.example.net"), modern("mail.example.com")
	w.start("127.0.0.7", smart)
	w.start("127.0.0.2", com)
	r := w.relay("-queue", inMemory, "-smarthost", "smtp://"+net.JoinHostPort("127.0.0.7", w.port))
	if _, err := submit(t, r.client("127.0.0.1"), "smart", "b@example.com", "b@nowhere.invalid"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are at the smart host", func() bool { return len(recipients(smart)) == 2 })
	if len(com.Connections()) != 0 {
		t.Error("the MX host was asked")
	}
	r.stop()
}

func recipients(h *smtptest.Host) (list []string) {
	for _, m := range h.Messages() {
		list = append(list, m.To()...)
	}
	return list
}

// TestRefusals: what the relay itself says no to.
func TestRefusals(t *testing.T) {
	w := newWorld(t, zone)
	r := w.relay("-queue", t.TempDir(), "-max-size", "5000", "-check-routes")
	s := r.client("127.0.0.1")
	for _, c := range []struct {
		name, to, text string
		code           int
		enhanced       string
	}{
		{"a null MX", "b@nomail.example", "x", 556, "5.1.10"},
		{"no such domain", "b@nowhere.invalid", "x", 550, "5.1.2"},
		{"too many hops", "b@example.com", "x\r\n" + strings.Repeat("received: x\r\n", 101), 554, "5.4.6"},
	} {
		t.Run(c.name, func(t *testing.T) {
			report, err := submit(t, s, c.text, c.to)
			if reply := report.Recipients[0].Reply; err == nil || reply.Code != c.code || reply.Enhanced != c.enhanced {
				t.Errorf("%+v, want %d %s", reply, c.code, c.enhanced)
			}
		})
	}
	t.Run("too large", func(t *testing.T) {
		report, err := submit(t, s, strings.Repeat("12345678\r\n", 300), "b@example.com")
		e, ok := errors.AsType[*delivery.Error](err)
		if !ok || !strings.HasPrefix(e.Enhanced, "5.3.4") {
			t.Errorf("%+v, %v, want 5.3.4", report.Recipients[0].Reply, err)
		}
	})
	if out, _, _ := queueCommand(r.Args[slices.Index(r.Args, "-queue")+1], "list"); out != "" {
		t.Errorf("queued all the same: %s", out)
	}
	r.stop()
}
