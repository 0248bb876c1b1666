package clienttest

import (
	"fmt"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// greetingScenarios are about the banner and EHLO.
func greetingScenarios() []*Scenario {
	return []*Scenario{
		at("a 5yz greeting is not the end", "RFC 5321 section 5.1", says(smtptest.Banner, "554 5.3.2 not here"), offers(), visits(mx1, mx2)),
		at("521 speaks for one host only", "RFC 7504 section 3", says(smtptest.Banner, "521 5.3.2 never"), offers(), visits(mx1, mx2)),
		at("a 421 greeting leads to the next host", "RFC 5321 section 3.8",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "421 4.3.2 full", Then: smtptest.Close}}}, offers(), visits(mx1, mx2)),
		at("a 4yz greeting everywhere is temporary", "RFC 5321 section 4.2.1",
			says(smtptest.Banner, "450 4.3.2 later"), says(smtptest.Banner, "554 5.3.2 not here"), wants(queue.Deferred), visits(mx1, mx2)),
		at("a greeting of several lines is one", "RFC 5321 section 4.2.1", says(smtptest.Banner, "220-one\n220-two\n220 three"), offers(), visits(mx1)),
		at("a greeting that never comes leads to the next host", "RFC 5321 section 4.5.3.2.1",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Then: smtptest.Stall}}}, offers(), visits(mx1, mx2)),
		at("a greeting after four minutes is waited for", "RFC 5321 section 4.5.3.2.1",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Delay: 4 * time.Minute}}}, offers(), visits(mx1)),
		at("nonsense for a greeting leads to the next host", "RFC 5321 section 4.2",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Raw: "SSH-2.0-OpenSSH_9.2\r\n"}}}, offers(), visits(mx1, mx2)),
		at("a closed connection instead of a greeting leads to the next host", "RFC 5321 section 3.8",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Then: smtptest.Close}}}, offers(), visits(mx1, mx2)),
		at("HELO follows where EHLO is not known", "RFC 5321 section 4.1.4", &smtptest.Host{NoEHLO: true}, offers(), visits(mx1), judged(func(s *Scenario) string {
			return spoken(s, "HELO client.example")
		})),
		at("HELO does not follow a 4yz to EHLO", "RFC 5321 section 4.1.4", says(smtptest.Hello, "451 4.3.0 later"), offers(), visits(mx1, mx2)),
		at("EHLO carries the name that was given", "RFC 5321 section 4.1.1.1", offers(), offers(), judged(func(s *Scenario) string {
			return spoken(s, "EHLO client.example")
		})),
		at("extension keywords are known in any case", "RFC 5321 section 4.1.1.1", offers("8bitmime"), offers(),
			visits(mx1), sends(queue.String(eightBitContent), eightBitContent)),
		at("the first line of the reply to EHLO offers nothing", "RFC 5321 section 4.1.1.1",
			says(smtptest.Hello, "250-8BITMIME greets you\n250 HELP"), offers("8BITMIME"), sends(queue.String(eightBitContent), eightBitContent),
			judged(func(s *Scenario) string {
				if got := s.internet.Hosts[mx1].Commands(); strings.Contains(strings.Join(got, " "), "MAIL FROM") {
					return fmt.Sprintf("8-bit mail offered to %s: %q", mx1, got)
				}
				return ""
			})),
		at("extension lines nobody can read are passed over", "RFC 5321 section 4.1.1.1",
			says(smtptest.Hello, "250-mx1\n250-\n250-AUTH=LOGIN PLAIN\n250-X-\x01\xff\n250 8BITMIME"), offers(), visits(mx1),
			sends(queue.String(eightBitContent), eightBitContent)),
	}
}

// eightBitContent is signed, so that a client does not convert it.
const eightBitContent = "DKIM-Signature: v=1; d=sender.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nü\r\n"

// spoken judges that the primary was told a line.
func spoken(s *Scenario, line string) string {
	got := s.internet.Hosts[mx1].Commands()
	for _, c := range got {
		if c == line {
			return ""
		}
	}
	return fmt.Sprintf("%s was told %q, want %q among it", mx1, got, line)
}

// replyScenarios are about reading replies.
func replyScenarios() []*Scenario {
	const form = "RFC 5321 section 4.2"
	return []*Scenario{
		at("a reply of three digits alone is one", form, &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Mail, Raw: "250\r\n"}, {At: smtptest.Rcpt, Raw: "250-\r\n250\r\n"}, {At: smtptest.Final, Raw: "250\r\n"}}}, offers(), visits(mx1)),
		at("the digits decide and not the text of a success", form, says(smtptest.Final, "250 fatal error 550 refused"), offers(), visits(mx1)),
		at("the digits decide and not the text of a failure", form, says(smtptest.Rcpt, "550 250 OK accepted"), offers(), wants(queue.Failed), visits(mx1)),
		at("codes nobody knows go by their first digit", "RFC 5321 section 4.3.2",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Mail, Reply: "259 x"}, {At: smtptest.Rcpt, Reply: "299 x"}, {At: smtptest.Final, Reply: "200 x"}}}, offers(), visits(mx1)),
		at("a 4yz nobody knows is temporary", "RFC 5321 section 4.3.2", says(smtptest.Rcpt, "459 x"), says(smtptest.Rcpt, "499 x"), wants(queue.Deferred), visits(mx1, mx2)),
		at("a reply with two codes is a fault of the host", form, &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Rcpt, Raw: "250-x\r\n550 x\r\n"}}}, offers(), visits(mx1, mx2)),
		at("a reply of the sixth class is a fault of the host", form, &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Mail, Raw: "650 x\r\n"}}}, offers(), visits(mx1, mx2)),
		at("a 3yz to RCPT is a fault of the host", "RFC 5321 section 4.3.2", says(smtptest.Rcpt, "354 go ahead"), offers(), visits(mx1, mx2)),
		at("a 2yz to DATA asks for no content", "RFC 5321 section 4.3.2", says(smtptest.Data, "250 ok"), offers(), visits(mx1, mx2)),
		at("octets that are no text break nothing", "RFC 6531 section 3.7.4", says(smtptest.Rcpt, "550 5.1.1 \x00\xff\x1b[2J"), offers(), wants(queue.Failed), visits(mx1)),
		at("421 in a transaction leads to the next host", "RFC 5321 section 3.8",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "421 4.3.2 closing", Then: smtptest.Close}}}, offers(), visits(mx1, mx2)),
		at("a lost connection in a transaction leads to the next host", "RFC 5321 section 3.8",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Mail, Then: smtptest.Reset}}}, offers(), visits(mx1, mx2)),
		at("a host that stalls in a transaction is left", "RFC 5321 section 4.5.3.2",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Rcpt, Then: smtptest.Stall}}}, offers(), visits(mx1, mx2)),
		at("a reply that drips in for hours is not waited for", "RFC 5321 section 4.5.3.2",
			&smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Mail, Reply: "250 " + strings.Repeat("x", 2000), Drip: time.Minute}}}, offers(), visits(mx1, mx2)),
	}
}
