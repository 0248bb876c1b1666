package smtpd

import (
	"context"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
)

// TestPostmaster: mail for the postmaster of this host is taken from anybody, however
// he is spelled, and goes where the server's user says (RFC 5321 section 4.5.1).
func TestPostmaster(t *testing.T) {
	nobody := func(context.Context, *Transaction, *queue.Recipient, string) Reply {
		return Reply{550, "5.7.1", "relaying denied"}
	}
	for _, to := range []string{
		"<postmaster>", "<Postmaster>", "<POSTMASTER>", `<"postmaster">`,
		"<postmaster@relay.example.net>", "<PostMaster@Relay.Example.NET.>", "<postmaster@mx2.example.com>",
		"<postmaster@xn--bcher-kva.example>", "<postmaster@[127.0.0.1]>", "<@relay.example.net:postmaster>",
	} {
		for _, where := range []string{"", "admin@example.com"} {
			t.Run(to+" to "+where, func(t *testing.T) {
				r := start(t, &Server{Rcpt: nobody, Names: []string{"MX2.example.com", "bücher.example"}, Postmaster: where})
				c := r.dial(t)
				c.say("EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:" + to + "\r\nDATA\r\n")
				c.want("220", "250", "250", "250", "354")
				c.say(".\r\n")
				c.want("250")
				want := where
				if want == "" {
					want = "postmaster@relay.example.net"
				}
				if got := r.all()[0].Recipients[0].Address; got != want {
					t.Errorf("it goes to %s, want %s", got, want)
				}
			})
		}
	}
	for _, to := range []string{"<postmaster@example.com>", "<postmaster@[192.0.2.1]>", "<postmaster@127.0.0.1>", "<postmaster@notrelay.example.net>", "<postmaster2>", "<root>", "<postmaster@>", "<xpostmaster@relay.example.net>"} {
		t.Run("nobody's: "+to, func(t *testing.T) {
			c := start(t, &Server{Rcpt: nobody}).dial(t)
			c.say("EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:" + to + "\r\n")
			c.want("220", "250", "250", "55")
		})
	}
}
