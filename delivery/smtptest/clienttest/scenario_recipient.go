package clienttest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// recipientScenarios are about MAIL and RCPT.
func recipientScenarios() []*Scenario {
	const rcpt = "RFC 5321 section 3.3"
	three := []string{"a@example.com", "b@example.com", "c@example.com"}
	return []*Scenario{
		at("recipients of one domain share a transaction", "RFC 5321 section 4.5.4.1", offers(), offers(), to(three...), visits(mx1), judged(transactions(1))),
		at("251 to RCPT is a success", "RFC 5321 section 3.4", says(smtptest.Rcpt, "251 2.1.5 will forward to <x@y.example>"), offers(), visits(mx1)),
		at("551 to RCPT is final", "RFC 5321 section 3.4", says(smtptest.Rcpt, "551 5.1.6 try <x@y.example>"), offers(), wants(queue.Failed), visits(mx1)),
		at("a recipient refused for now is offered to the next host", "RFC 5321 section 5.1", says(smtptest.Rcpt, "450 4.2.0 later"), offers(), visits(mx1, mx2)),
		at("a recipient refused for good is offered to nobody else", "RFC 5321 section 5.1", says(smtptest.Rcpt, "550 5.1.1 no"), offers(), wants(queue.Failed), visits(mx1)),
		at("every recipient has a verdict of its own", rcpt,
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Rcpt, Address: three[1], Reply: "550 5.1.1 no"}, {At: smtptest.Rcpt, Address: three[2], Reply: "450 4.2.0 later"}}},
			says(smtptest.Rcpt, "450 4.2.0 later"), to(three...), wants(queue.Delivered, queue.Failed, queue.Deferred), visits(mx1, mx2)),
		at("what one host took is not offered to the next", "RFC 5321 section 4.5.4.1",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Rcpt, Address: three[2], Reply: "450 4.2.0 later"}}}, offers(), to(three...), visits(mx1, mx2)),
		at("too many recipients are sent in another transaction", "RFC 5321 section 4.5.3.1.10",
			&smtptest.Host{MaxRecipients: 2}, says(smtptest.Banner, "554 5.3.2 not here"), to(append(three, "d@example.com", "e@example.com")...),
			func(s *Scenario) { s.want = slices.Repeat([]queue.Outcome{queue.Delivered}, 5) }),
		at("552 after accepted recipients means too many of them", "RFC 5321 section 4.5.3.1.10",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Rcpt, Nth: 3, Reply: "552 5.5.3 too many"}}}, says(smtptest.Banner, "554 5.3.2 not here"), to(three...)),
		at("RCPTMAX is kept to", "RFC 9422 section 4", offers("LIMITS RCPTMAX=2"), says(smtptest.Banner, "554 5.3.2 not here"), to(three...), judged(transactions(2))),
		at("a MAIL refused for good is offered to nobody else", "RFC 5321 section 5.1", says(smtptest.Mail, "550 5.7.1 no"), offers(), wants(queue.Failed), visits(mx1)),
		at("a MAIL refused for now is offered to the next host", "RFC 5321 section 5.1", says(smtptest.Mail, "451 4.7.1 later"), offers(), visits(mx1, mx2)),
		at("where every recipient is refused no content is sent", "RFC 2920 section 3.1",
			&smtptest.Host{Extensions: []string{"PIPELINING"}, Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "550 5.1.1 no"}, {At: smtptest.Data, Reply: "354 go ahead"}, {At: smtptest.Final, Reply: "250 2.0.0 taken"}}},
			offers(), wants(queue.Failed), visits(mx1), func(s *Scenario) { s.content = "" }),
		at("the null reverse-path stays the null one", "RFC 5321 section 3.6.3", offers(), offers(),
			func(s *Scenario) { s.message.From = "" }, judged(func(s *Scenario) string { return spoken(s, "MAIL FROM:<>") })),
		at("the local part stays as it was written", "RFC 5321 section 2.4", offers(), offers(), to(`"John \"X\" Doe"@example.com`, "JoHn+T@example.com"),
			judged(func(s *Scenario) string {
				return spoken(s, `RCPT TO:<"John \"X\" Doe"@example.com>`) + spoken(s, "RCPT TO:<JoHn+T@example.com>")
			})),
		at("an address with a line end is refused at the door", "RFC 5321 section 2.3.8", offers(), offers(),
			to("bob@example.com>\r\nRCPT TO:<eve@example.com"), wants(queue.Failed), visits()),
		at("a reverse-path with a line end is refused at the door", "RFC 5321 section 2.3.8", offers(), offers(),
			func(s *Scenario) { s.message.From = "alice@sender.example>\r\nRSET\r\nMAIL FROM:<x@example.com" }, wants(queue.Failed), visits()),
		at("DSN parameters go to hosts that offer DSN", "RFC 3461 section 5.2.1", offers("DSN"), offers(), reported, judged(func(s *Scenario) string {
			return spoken(s, "RCPT TO:<bob@example.com> NOTIFY=SUCCESS ORCPT=rfc822;bob+2Bx@example.com")
		})),
		at("DSN parameters do not go to hosts that do not offer DSN", "RFC 3461 section 5.2.2", offers(), offers(), reported, judged(func(s *Scenario) string {
			return spoken(s, "RCPT TO:<bob@example.com>")
		})),
	}
}

// reported asks for a report of success.
func reported(s *Scenario) {
	s.message.EnvelopeID, s.message.Return = "x", queue.ReturnHeaders
	r := &s.message.Recipients[0]
	r.Notify, r.OriginalType, r.Original = queue.NotifySuccess, "rfc822", "bob+x@example.com"
}

// transactions is how many messages the primary must have taken.
func transactions(n int) func(*Scenario) string {
	return func(s *Scenario) string {
		if got := len(s.internet.Hosts[mx1].Messages()); got != n {
			return fmt.Sprintf("%d transactions, want %d", got, n)
		}
		return ""
	}
}

// endScenarios are about the end of the content and of the session.
func endScenarios() []*Scenario {
	return []*Scenario{
		at("a 4yz to DATA sends no content and leads to the next host", "RFC 5321 section 3.3", says(smtptest.Data, "451 4.3.0 later"), offers(), visits(mx1, mx2)),
		at("a 4yz after the content leads to the next host or to later", "RFC 5321 section 4.2.5", says(smtptest.Final, "451 4.3.0 later"), says(smtptest.Final, "452 4.3.1 full"), wants(queue.Deferred)),
		at("a 5yz after the content is final", "RFC 5321 section 4.2.5", says(smtptest.Final, "554 5.6.0 no"), offers(), wants(queue.Failed), visits(mx1)),
		at("a connection lost after the final dot leaves the outcome unknown", "RFC 1047 section 2",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Final, Then: smtptest.Close}}}, offers(), wants(queue.Unknown), visits(mx1)),
		at("a reply to the final dot that never comes leaves the outcome unknown", "RFC 1047 section 2",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Final, Then: smtptest.Stall}}}, offers(), wants(queue.Unknown), visits(mx1)),
		at("a connection lost in the content loses nothing", "RFC 5321 section 3.8",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Content, After: 1000, Then: smtptest.Reset}}}, offers(), sends(queue.String(longContent()), longContent()), visits(mx1, mx2)),
		at("what was taken stays taken whatever QUIT meets", "RFC 5321 section 4.1.1.10", says(smtptest.Quit, "554 5.0.0 no"), offers(), visits(mx1)),
		at("what was taken stays taken where QUIT has no answer", "RFC 5321 section 4.1.1.10",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Quit, Then: smtptest.Stall}}}, offers(), visits(mx1)),
		at("what was taken stays taken where the host hangs up", "RFC 5321 section 3.8",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Final, Reply: "250 2.0.0 taken", Then: smtptest.Reset}}}, offers(), visits(mx1)),
		at("a session with a refused recipient ends with QUIT", "RFC 5321 section 4.1.1.10", says(smtptest.Rcpt, "550 5.1.1 no"), offers(), wants(queue.Failed),
			judged(func(s *Scenario) string { return spoken(s, "QUIT") })),
		at("what came before the TLS handshake is not believed inside TLS", "RFC 3207 section 4.2",
			&smtptest.Host{Extensions: []string{"STARTTLS"}, Script: []smtptest.Cue{{At: smtptest.StartTLS, Raw: "220 go ahead\r\n250-mx1\r\n250 DSN\r\n"}}}, offers(), judged(injected)),
	}
}

// injected judges that no session went on after replies were injected into it.
func injected(s *Scenario) string {
	for _, c := range s.internet.Hosts[mx1].Connections() {
		secure := false
		for _, l := range c.Lines {
			secure = secure || l.Client && l.Text == "STARTTLS"
			if secure && l.Client && strings.HasPrefix(l.Text, "MAIL") {
				return "mail offered in a session into which replies were injected"
			}
		}
	}
	return ""
}
