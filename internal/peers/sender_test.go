//go:build linux

package peers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/internal/tap"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// deliver sends a message that must arrive whole.
func deliver(t *testing.T, s *delivery.Sender, m *queue.Message) *delivery.Report {
	t.Helper()
	report, err := s.Send(t.Context(), m)
	if err != nil {
		t.Fatalf("not delivered: %v", err)
	}
	return report
}

// arrived waits for a word in a server's mail.
func arrived(t *testing.T, s *peers.Server, dir, word string) {
	t.Helper()
	peers.Eventually(t, word+" at "+s.Listen, func() bool { return strings.Contains(s.Mail(dir), word) })
}

// peer is one server of the world.
type peer struct {
	server   *peers.Server
	name, ip string
	dir      string
	chunking bool
	trips    int // round trips that a message to one recipient costs on a kept session
	tls      bool
}

func (w *world) peers() []peer {
	return []peer{
		{w.postfix, "postfix.e.test", "127.0.0.2", "/var/vmail", true, 1, true},
		{w.exim, "exim.e.test", "127.0.0.3", "/var/vmail", true, 1, true},
		{w.opensmtpd, "opensmtpd.e.test", "127.0.0.4", "/var/vmail", false, 4, false}, // it has no PIPELINING
		{w.sink, "sink.e.test", "127.0.0.5", "/var/sink", false, 2, false},
	}
}

// TestOrder delivers through real DNS, and takes the servers down one by one.
func TestOrder(t *testing.T) {
	w := build(t)
	t.Run("MX-15, MX-22 in order of preference, falling through", func(t *testing.T) {
		for i, p := range w.peers() {
			word := fmt.Sprintf("order-%d", i)
			report := deliver(t, w.newSender(t), message(text+word+"\r\n", "u@e.test"))
			rr := &report.Recipients[0]
			if rr.Host != p.name || len(rr.Attempts) != i+1 || rr.Via != mx.ViaMX {
				t.Errorf("by %s after %d attempts, want %s after %d", rr.Host, len(rr.Attempts), p.name, i+1)
			}
			arrived(t, p.server, p.dir, word)
			p.server.Stop()
		}
		_, err := w.newSender(t).Send(t.Context(), message(text, "u@e.test"))
		var e *delivery.Error
		if !errors.As(err, &e) || !e.Temporary() || e.Stage != delivery.StageConnect {
			t.Errorf("all down: %v", err)
		}
	})
	t.Run("MX-4, MX-13 what DNS alone decides", func(t *testing.T) {
		_, err := w.sender.Send(t.Context(), message(text, "u@nowhere.e.test"))
		var e *delivery.Error
		if !errors.As(err, &e) || e.Temporary() || e.Enhanced != "5.1.2" {
			t.Errorf("no such domain: %v", err)
		}
		// BIND refuses what is not its own.
		_, err = w.sender.Send(t.Context(), message(text, "u@other.test"))
		if !errors.As(err, &e) || !e.Temporary() || e.Enhanced != "4.4.3" {
			t.Errorf("REFUSED: %v", err)
		}
	})
}

// TestDialogues speaks to each server in all the ways it offers.
func TestDialogues(t *testing.T) {
	w := build(t)
	for _, p := range w.peers() {
		t.Run(p.name, func(t *testing.T) {
			s := w.newSender(t)
			s.Router = only{p.name, p.ip}
			t.Run("SMTP-28, SMTP-29 content arrives as it was", func(t *testing.T) { content(t, s, p) })
			t.Run("SMTP-42, EXT-7, EXT-13 one connection, as few commands as it allows", func(t *testing.T) { flights(t, w, s, p) })
			if p.tls {
				t.Run("TLS-5 levels", func(t *testing.T) { levels(t, w, p) })
			}
			if p.server == w.sink {
				return // it knows everybody
			}
			t.Run("SMTP-23 verdicts per recipient", func(t *testing.T) { verdicts(t, s, p) })
			t.Run("EXT-11 8-bit content", func(t *testing.T) {
				deliver(t, s, message("Subject: s\r\nMIME-Version: 1.0\r\n\r\ncaf\xc3\xa9 8bit\r\n", "u@e.test"))
				arrived(t, p.server, p.dir, "caf\xc3\xa9 8bit")
			})
		})
	}
	t.Run("I18N-5 SMTPUTF8 where it is offered", func(t *testing.T) {
		s := w.newSender(t)
		s.Router = only{"postfix.e.test", "127.0.0.2"}
		m := message("Subject: caf\xc3\xa9 utf8\r\n\r\nx\r\n", "u@e.test")
		m.From = "j\u00f6@from.test"
		deliver(t, s, m)
		arrived(t, w.postfix, "/var/vmail", "caf\xc3\xa9 utf8")
		s = w.newSender(t)
		s.Router = only{"opensmtpd.e.test", "127.0.0.4"}
		report, _ := s.Send(t.Context(), m)
		if rr := &report.Recipients[0]; rr.Outcome != queue.Failed || !strings.HasPrefix(rr.Reply.Enhanced, "5.6.") {
			t.Errorf("a server without it: %v, %v", rr.Outcome, rr.Err)
		}
	})
	t.Run("MX-22 a server that defers one recipient", func(t *testing.T) {
		s := w.newSender(t)
		s.Router = only{"exim.e.test", "127.0.0.3"}
		report, _ := s.Send(t.Context(), message(text, "u@e.test", "later@e.test"))
		if report.Recipients[0].Outcome != queue.Delivered || report.Recipients[1].Outcome != queue.Deferred {
			t.Errorf("%v, %v", report.Recipients[0].Outcome, report.Recipients[1].Err)
		}
	})
}

func content(t *testing.T, s *delivery.Sender, p peer) {
	deliver(t, s, message(strings.ReplaceAll(text, "the last word", "whole at "+p.name), "u@e.test"))
	arrived(t, p.server, p.dir, "whole at "+p.name)
	// Mailboxes have LF; smtp-sink keeps the dots of transparency out, too.
	mail := strings.ReplaceAll(p.server.Mail(p.dir), "\r\n", "\n")
	if want := "\n.a line with a dot\n..two\n.\nwhole at " + p.name + "\n"; !strings.Contains(mail, want) {
		t.Errorf("want %q in %q", want, mail)
	}
}

func flights(t *testing.T, w *world, s *delivery.Sender, p peer) {
	deliver(t, s, message(text, "u@e.test"))
	before := w.dials.Load()
	for range 3 {
		if report := deliver(t, s, message(text, "u@e.test")); !report.Recipients[0].Attempts[0].Reused {
			t.Error("the session was not reused")
		}
	}
	if n := w.dials.Load() - before; n != 0 {
		t.Errorf("%d new connections", n)
	}
	s = w.newSender(t)
	s.Router, s.TLS = only{p.name, p.ip}, mx.TLSNone // so that the wire can be read
	deliver(t, s, message(text, "u@e.test"))
	wire := w.tap.AllWritten()
	if bytes.Contains(wire, []byte("\r\nBDAT ")) != p.chunking || bytes.Contains(wire, []byte("\r\nDATA\r\n")) == p.chunking {
		t.Errorf("CHUNKING is offered: %t; the wire was %q", p.chunking, wire)
	}
	past := len(w.tap.Events())
	deliver(t, s, message(text, "u@e.test"))
	if n := trips(w.tap.Events()[past:]); n != p.trips {
		t.Errorf("%d round trips, want %d: %q", n, p.trips, w.tap.AllWritten()[len(wire):])
	}
}

// trips counts how often something was read after something was written.
func trips(events []tap.Event) (n int) {
	waiting := false
	for _, e := range events {
		if waiting && !e.Written {
			n++
		}
		waiting = e.Written
	}
	return n
}

func levels(t *testing.T, w *world, p peer) {
	for level, want := range map[mx.TLSLevel]string{
		mx.TLSNone: "none", mx.TLSMay: "encrypted", mx.TLSEncrypt: "encrypted", mx.TLSVerify: "verified",
	} {
		s := w.newSender(t)
		s.Router, s.TLS = only{p.name, p.ip}, level
		if got := deliver(t, s, message(text, "u@e.test")).Recipients[0].TLS.String(); got != want {
			t.Errorf("level %d: %s, want %s", level, got, want)
		}
	}
	s := w.newSender(t)
	s.Router, s.TLS = only{"another.name.test", p.ip}, mx.TLSVerify
	_, err := s.Send(t.Context(), message(text, "u@e.test"))
	var e *delivery.Error
	if !errors.As(err, &e) || !e.Temporary() || e.Stage != delivery.StageStartTLS {
		t.Errorf("a certificate for another name: %v", err)
	}
}

// TestBrokenTLS is OpenSMTPD with STARTTLS. In Debian 12 its handshake fails, for
// it was made for an older OpenSSL: a server as they are out there. Where it
// works one day, the message must travel under TLS.
func TestBrokenTLS(t *testing.T) {
	w := &world{}
	w.newRoot(t)
	cert, key := w.pem(t, "opensmtpd.e.test")
	server := peers.OpenSMTPD("127.0.0.4", "opensmtpd.e.test", cert, key)
	server.Start(t)
	t.Run("TLS-4 nobody requires it: delivered, in clear only after it failed", func(t *testing.T) {
		s := w.newSender(t)
		s.Router = only{"opensmtpd.e.test", "127.0.0.4"}
		rr := &deliver(t, s, message(text, "u@e.test")).Recipients[0]
		if rr.TLS.Level == mx.TLSNone && (len(rr.Attempts) != 2 || rr.Attempts[0].Next != delivery.InClear) {
			t.Errorf("in clear after %+v", rr.Attempts)
		}
		arrived(t, server, "/var/vmail", "the last word")
	})
	t.Run("TLS-4 it is required: never in clear", func(t *testing.T) {
		s := w.newSender(t)
		s.Router, s.TLS = only{"opensmtpd.e.test", "127.0.0.4"}, mx.TLSEncrypt
		report, err := s.Send(t.Context(), message(text, "u@e.test"))
		rr := &report.Recipients[0]
		if err == nil && rr.TLS.Level < mx.TLSEncrypt || err != nil && (rr.Outcome != queue.Deferred || rr.Err.Stage != delivery.StageStartTLS) {
			t.Errorf("%v, TLS %v: %v", rr.Outcome, rr.TLS, err)
		}
		if bytes.Contains(w.tap.AllWritten(), []byte("MAIL FROM")) {
			t.Error("MAIL went in clear")
		}
	})
}

func verdicts(t *testing.T, s *delivery.Sender, p peer) {
	report, err := s.Send(t.Context(), message(text, "u@e.test", "stranger@e.test", "v@e.test"))
	if err == nil {
		t.Error("no error")
	}
	for i, want := range []queue.Outcome{queue.Delivered, queue.Failed, queue.Delivered} {
		if rr := &report.Recipients[i]; rr.Outcome != want {
			t.Errorf("%s: %v, want %v (%v)", rr.Address, rr.Outcome, want, rr.Err)
		}
	}
	// All refused, with the content on its way already where the server takes
	// that; and the session is still good.
	report, _ = s.Send(t.Context(), message(text, "stranger@e.test"))
	if rr := &report.Recipients[0]; rr.Outcome != queue.Failed || rr.Err.Stage != delivery.StageRcpt || !rr.Attempts[0].Reused {
		t.Errorf("stranger alone: %v, %v", rr.Outcome, rr.Err)
	}
	if rr := &deliver(t, s, message(text, "u@e.test")).Recipients[0]; !rr.Attempts[0].Reused {
		t.Error("the session was not reused after all recipients were refused")
	}
	if e := report.Recipients[0].Err; e.Stage != delivery.StageRcpt || e.Code != 550 || !e.Replied() {
		t.Errorf("stranger: %+v", e)
	}
}

// TestMxsend is the command line on the same servers.
func TestMxsend(t *testing.T) {
	w := build(t)
	roots := w.postfix.Path("/roots.pem")
	if err := os.WriteFile(roots, w.rootPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, int) {
		t.Helper()
		cmd := exec.Command(filepath.Join(os.Getenv(builtPath), "mxsend"), append([]string{"-dns", "127.0.0.1:53", "-loopback", "-helo", "from.test"}, args...)...)
		cmd.Stdin = strings.NewReader("Subject: s\n\nby mxsend\n")
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+roots)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	t.Run("delivered, verified, one JSON object a recipient", func(t *testing.T) {
		out, code := run("-json", "-tls", "verify", "-f", "a@from.test", "u@e.test", "stranger@e.test")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		var good, bad struct{ Recipient, Status, Route, Host, TLS string }
		if code != 69 || len(lines) != 2 ||
			json.Unmarshal([]byte(lines[0]), &good) != nil || json.Unmarshal([]byte(lines[1]), &bad) != nil {
			t.Fatalf("exit code %d, output %s", code, out)
		}
		if good.Status != "delivered" || good.Host != "postfix.e.test" || good.TLS != "verified" || good.Route != "mx" || bad.Status != "failed" {
			t.Errorf("%+v, %+v", good, bad)
		}
		arrived(t, w.postfix, "/var/vmail", "by mxsend")
	})
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"all delivered", []string{"-f", "", "u@e.test"}, 0, "delivered"},
		{"no such domain", []string{"-f", "a@from.test", "u@nowhere.e.test"}, 68, "no such domain"},
		{"DNS in trouble", []string{"-f", "a@from.test", "u@other.test"}, 75, "deferred"},
		{"bad address", []string{"-f", "a@from.test", "nonsense"}, 65, "no domain"},
		{"usage", []string{"u@e.test"}, 64, "-f"},
		{"explained", []string{"-explain", "u@e.test"}, 0, "postfix.e.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if out, code := run(c.args...); code != c.code || !strings.Contains(out, c.want) {
				t.Errorf("exit code %d, want %d, and %q in: %s", code, c.code, c.want, out)
			}
		})
	}
}
