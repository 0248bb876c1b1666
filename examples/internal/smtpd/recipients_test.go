package smtpd

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
)

// rcpts are RCPT commands for n recipients of a domain.
func rcpts(n int, domain string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "RCPT TO:<u%d@%s>\r\n", i, domain)
	}
	return b.String()
}

// TestManyRecipients: who names more recipients than are taken is told so for each,
// however many they are, and those that were taken get the message (RFC 5321 section
// 4.5.3.1.10).
func TestManyRecipients(t *testing.T) {
	const taken, more = 50, 2000
	for name, trusted := range map[string]bool{"of a stranger": false, "of a trusted client": true} {
		t.Run(name, func(t *testing.T) {
			s := &Server{MaxRecipients: taken}
			if trusted {
				s.Trusted = everybody
			}
			r := start(t, s)
			c := r.dial(t)
			c.want("220")
			c.say("EHLO client.example.org\r\nMAIL FROM:<a@example.org>\r\n")
			c.want("250", "250")
			go c.write(rcpts(taken+more, "example.com") + "DATA\r\n")
			for range taken {
				c.want("250 2.1.5")
			}
			for range more {
				c.want("452 4.5.3")
			}
			c.want("354")
			c.say("Subject: s\r\n\r\n.\r\nMAIL FROM:<a@example.org>\r\n" + rcpts(2, "example.com"))
			c.want("250 2.0.0", "250", "250", "250")
			if m := r.all(); len(m) != 1 || len(m[0].Recipients) != taken {
				t.Errorf("%d messages, want one to %d", len(m), taken)
			}
		})
	}
}

// TestRefusedRecipients: recipients that are refused, for whatever reason, take nothing
// from those that were taken; a stranger is not let guess for ever.
func TestRefusedRecipients(t *testing.T) {
	asked := 0
	rules := func(ctx context.Context, tx *Transaction, r *queue.Recipient, destination string) Reply {
		asked++
		return refuseSome(ctx, tx, r, destination)
	}
	bad := "RCPT TO:<x@refused.example>\r\nRCPT TO:<x@a..example>\r\nRCPT TO:x\r\nRCPT TO:<x@y.example> ORCPT=x\r\nRCPT TO:<\xc3\xb6@y.example>\r\nRCPT TO:<x>\r\n"
	for name, trusted := range map[string]bool{"of a stranger": false, "of a trusted client": true} {
		t.Run(name, func(t *testing.T) {
			asked = 0
			s := &Server{Rcpt: rules}
			if trusted {
				s.Trusted = everybody
			}
			r := start(t, s)
			c := r.dial(t)
			c.want("220")
			c.say("EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\n")
			c.want("250", "250", "250")
			const rounds = 100
			go c.write(strings.Repeat(bad, rounds) + "DATA\r\n")
			for i := range 6 * rounds {
				got := c.reply()
				if late := !trusted && i >= maxRejected; late != strings.HasPrefix(got, "452 4.5.3") || !strings.HasPrefix(got, "5") != late {
					t.Fatalf("recipient %d is answered %q", i, got)
				}
			}
			c.want("354")
			c.say(".\r\n")
			c.want("250 2.0.0")
			if most := 1 + maxRejected; !trusted && asked > most {
				t.Errorf("asked %d times, want %d at most", asked, most)
			}
			if m := r.all(); len(m) != 1 || len(m[0].Recipients) != 1 {
				t.Errorf("%d messages", len(m))
			}
			// What is counted is counted from message to message.
			c.say("MAIL FROM:<a@example.org>\r\n" + bad + "RCPT TO:<b@example.com>\r\n")
			c.want("250", "550", "553", "5", "501", "553", "553", "250")
		})
	}
	t.Run("a stranger who only guesses", func(t *testing.T) {
		c := start(t, &Server{Rcpt: refuseSome}).dial(t)
		c.want("220")
		c.say("EHLO me\r\nMAIL FROM:<a@example.org>\r\n" + rcpts(maxRejected+1, "refused.example"))
		c.want("250", "250")
		for range maxRejected {
			c.want("550")
		}
		c.want("421 4.7.0", "")
	})
	t.Run("a user who is logged in, and has a list with many mistakes", func(t *testing.T) {
		c := loggedIn(t, &Server{Rcpt: refuseSome})
		c.say("MAIL FROM:<a@example.org>\r\n" + rcpts(2*maxRejected, "refused.example") + "RCPT TO:<b@example.com>\r\n")
		c.want("250")
		for range 2 * maxRejected {
			c.want("550")
		}
		c.want("250")
	})
}

// TestIdleCommands: a stranger's commands that lead to nothing come to an end; those
// of a trusted client, of a user who is logged in, and those between messages, do not.
func TestIdleCommands(t *testing.T) {
	const some = "NOOP\r\nRSET\r\nVRFY x\r\nHELP\r\n"
	t.Run("of a stranger", func(t *testing.T) {
		c := start(t, &Server{}).dial(t)
		go c.write("EHLO me\r\n" + strings.Repeat(some, maxIdle/4))
		c.want("220")
		for range maxIdle + 1 {
			c.want("2")
		}
		c.want("421 4.7.0", "")
	})
	t.Run("of a trusted client", func(t *testing.T) {
		c := start(t, &Server{Trusted: everybody}).dial(t)
		go c.write("EHLO me\r\n" + strings.Repeat(some, maxIdle) + "QUIT\r\n")
		c.want("220")
		for range 1 + 4*maxIdle {
			c.want("2")
		}
		c.want("221", "")
	})
	t.Run("of a user who is logged in", func(t *testing.T) {
		c := loggedIn(t, &Server{})
		go c.write(strings.Repeat(some, maxIdle/2) + "QUIT\r\n")
		for range 2 * maxIdle {
			c.want("2")
		}
		c.want("221", "")
	})
	t.Run("between messages", func(t *testing.T) {
		r := start(t, &Server{})
		c := r.dial(t)
		const message = "MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nBDAT 0 LAST\r\n"
		const rounds = 5
		go c.write("EHLO me\r\n" + strings.Repeat(strings.Repeat(some, maxIdle/5)+message, rounds))
		c.want("220", "250")
		for range rounds {
			for range maxIdle / 5 * 4 {
				c.want("2")
			}
			c.want("250", "250", "250 2.0.0 taken")
		}
	})
}
