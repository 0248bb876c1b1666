//go:build linux

package peers_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/internal/peers"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestLongContent sends more than fits any buffer, by one chunk after the other
// where they are offered.
func TestLongContent(t *testing.T) {
	w := build(t)
	var b strings.Builder
	b.WriteString("Subject: long\r\n\r\n")
	for i := range 60_000 {
		fmt.Fprintf(&b, "%.*s line %d of many\r\n", i%5, ".....", i)
	}
	body := strings.ReplaceAll(b.String()[strings.Index(b.String(), "\r\n\r\n")+4:], "\r\n", "\n")
	for _, p := range w.peers() {
		t.Run("SMTP-28, EXT-14 two megabytes to "+p.name, func(t *testing.T) {
			s := w.newSender(t)
			s.Router = only{p.name, p.ip}
			deliver(t, s, message(b.String(), "u@e.test"))
			arrived(t, p.server, p.dir, "line 59999 of many")
			if mail := strings.ReplaceAll(p.server.Mail(p.dir), "\r\n", "\n"); !strings.Contains(mail, body) {
				t.Errorf("%d octets arrived, and not as they were", len(mail))
			}
		})
	}
}

// TestLostSessions stops a server between two messages and starts it again.
func TestLostSessions(t *testing.T) {
	server := peers.Postfix("127.0.0.2", "postfix.e.test", "", "", "")
	server.Start(t)
	w := &world{}
	w.newRoot(t)
	s := w.newSender(t)
	s.Router, s.TLS = only{"postfix.e.test", "127.0.0.2"}, mx.TLSNone
	deliver(t, s, message(text+"the first\r\n", "u@e.test"))
	server.Stop()
	t.Run("SMTP-42 the kept session is gone, and so is the host: not now", func(t *testing.T) {
		_, err := s.Send(t.Context(), message(text, "u@e.test"))
		e, ok := errors.AsType[*delivery.Error](err)
		if !ok || !e.Temporary() || e.Stage != delivery.StageConnect {
			t.Errorf("got %v, want a connection refused", err)
		}
	})
	server.Restart(t)
	t.Run("SMTP-42 the host is back: delivered once", func(t *testing.T) {
		s := w.newSender(t) // for the other remembers that the host was down
		s.Router, s.TLS = only{"postfix.e.test", "127.0.0.2"}, mx.TLSNone
		deliver(t, s, message(text+"the second\r\n", "u@e.test"))
		server.Stop()
		server.Restart(t)
		rr := &deliver(t, s, message(text+"the third\r\n", "u@e.test")).Recipients[0]
		if rr.Outcome != queue.Delivered {
			t.Errorf("after the host was started again: %v", rr.Err)
		}
		arrived(t, server, "/var/vmail", "the third")
		if n := strings.Count(server.Mail("/var/vmail"), "the third"); n != 1 {
			t.Errorf("it arrived %d times", n)
		}
	})
}
