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
	t.Run("SMTP-27 content refused is said once, and offered no more", func(t *testing.T) {
		first, second := script(
			smtptest.Cue{At: smtptest.Rcpt, Nth: 7, Reply: "550 5.1.1 nobody"},
			smtptest.Cue{At: smtptest.Final, Reply: "554 5.6.0 no such mail here"},
		), script()
		bubble(t, zone, servers(first, second), func(t *testing.T, r *rig) {
			report := r.send(t, message(addresses(n)...))
			for i := range report.Recipients {
				status := "5.6.0"
				if i == 6 {
					status = "5.1.1"
				}
				want(t, &report.Recipients[i], queue.Failed, "mx1.e.test", status)
			}
			if m := mails(first); m != 1 || len(second.Connections()) != 0 {
				t.Errorf("%d MAIL, %d connections to the second host", m, len(second.Connections()))
			}
		})
	})
	for name, reply := range map[string]string{
		"a verdict about mailboxes":   "552 5.2.2 mailbox full",
		"a verdict for now":           "451 4.7.1 later",
		"a verdict by a policy":       "550 5.7.1 refused by a filter of the recipient's",
		"a verdict without a status":  "554 Transaction failed",
		"a verdict that says no more": "554 5.0.0 no",
	} {
		t.Run(name+" at the end of the content is theirs only who were in it", func(t *testing.T) {
			host := script(smtptest.Cue{At: smtptest.Final, Nth: 1, Reply: reply})
			bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
				report := r.send(t, message(addresses(n)...))
				if got := report.Recipients[99].Reply.Text; !strings.Contains(reply, got) {
					t.Errorf("the last one in it: %q, want %q", got, reply)
				}
				want(t, &report.Recipients[100], queue.Delivered, "mx1.e.test", "")
			})
		})
	}
	t.Run("content that the host has taken for others is offered to the rest", func(t *testing.T) {
		host := script(smtptest.Cue{At: smtptest.Final, Nth: 2, Reply: "554 5.6.0 no"})
		bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
			report := r.send(t, message(addresses(n)...))
			want(t, &report.Recipients[100], queue.Failed, "mx1.e.test", "5.6.0")
			want(t, &report.Recipients[200], queue.Delivered, "mx1.e.test", "")
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
