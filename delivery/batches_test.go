package delivery_test

import (
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestManyTransactions is a message with more recipients than go into a
// transaction, at hosts that are not up to it.
func TestManyTransactions(t *testing.T) {
	const n = 1000 // ten transactions
	failures := map[string]smtptest.Cue{
		"SMTP-19 421 to RCPT":      {At: smtptest.Rcpt, Reply: "421 4.3.2 overloaded", Then: smtptest.Close},
		"connection lost at MAIL":  {At: smtptest.Mail, Then: smtptest.Close},
		"connection lost at RCPT":  {At: smtptest.Rcpt, Then: smtptest.Close},
		"MX-22 MAIL not taken now": {At: smtptest.Mail, Reply: "451 4.3.0 later"},
	}
	for name, cue := range failures {
		t.Run(name+": all recipients go to the next host at once", func(t *testing.T) {
			first, second := script(cue), script()
			bubble(t, zone, servers(first, second), func(t *testing.T, r *rig) {
				report := r.send(t, message(addresses(n)...))
				for i := range report.Recipients {
					want(t, &report.Recipients[i], queue.Delivered, "mx2.e.test", "")
				}
				if c, m := len(first.Connections()), mails(first); c != 1 || m != 1 {
					t.Errorf("%d connections to the first host with %d MAIL, want one of each", c, m)
				}
			})
		})
	}
	t.Run("SMTP-22 MAIL refused is said once", func(t *testing.T) {
		first, second := script(smtptest.Cue{At: smtptest.Mail, Reply: "550 5.7.1 not you"}), script()
		bubble(t, zone, servers(first, second), func(t *testing.T, r *rig) {
			report := r.send(t, message(addresses(n)...))
			for i := range report.Recipients {
				want(t, &report.Recipients[i], queue.Failed, "mx1.e.test", "5.7.1")
			}
			if m := mails(first); m != 1 || len(second.Connections()) != 0 {
				t.Errorf("%d MAIL, %d connections to the second host", m, len(second.Connections()))
			}
		})
	})
	t.Run("SMTP-19 a host that takes one message a connection takes them all", func(t *testing.T) {
		host := &smtptest.Host{Extensions: full(), MaxMessages: 1}
		bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
			report := r.send(t, message(addresses(n)...))
			for i := range report.Recipients {
				want(t, &report.Recipients[i], queue.Delivered, "mx1.e.test", "")
			}
			if c, m := len(host.Connections()), len(host.Messages()); c != 10 || m != 10 {
				t.Errorf("%d connections, %d messages, want 10", c, m)
			}
		})
	})
	t.Run("a host that fails in the midst of it keeps what it took", func(t *testing.T) {
		first, second := script(smtptest.Cue{At: smtptest.Rcpt, Nth: 150, Then: smtptest.Close}), script()
		bubble(t, zone, servers(first, second), func(t *testing.T, r *rig) {
			report := r.send(t, message(addresses(n)...))
			for i := range report.Recipients {
				if got := report.Recipients[i].Outcome; got != queue.Delivered {
					t.Errorf("%d: %v (%v)", i, got, report.Recipients[i].Err)
				}
			}
			times := map[string]int{}
			for _, h := range []*smtptest.Host{first, second} {
				for _, m := range h.Messages() {
					for _, to := range m.To() {
						times[to]++
					}
				}
			}
			for to, k := range times {
				if k != 1 {
					t.Errorf("%s has %d copies", to, k)
				}
			}
			if len(times) != n {
				t.Errorf("%d recipients have it, want %d", len(times), n)
			}
		})
	})
}

// mails is how many MAIL commands a host has seen.
func mails(h *smtptest.Host) (n int) {
	for _, c := range h.Commands() {
		if strings.HasPrefix(strings.ToUpper(c), "MAIL ") {
			n++
		}
	}
	return n
}
