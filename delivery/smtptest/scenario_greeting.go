package smtptest

import (
	"fmt"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// greetingScenarios are about the banner and EHLO.
func greetingScenarios() []*Scenario {
	return []*Scenario{
		at("a 5yz greeting is not the end", "RFC 5321 section 5.1", says(Banner, "554 5.3.2 not here"), offers(), visits(mx1, mx2)),
		at("521 speaks for one host only", "RFC 7504 section 3", says(Banner, "521 5.3.2 never"), offers(), visits(mx1, mx2)),
		at("a 421 greeting leads to the next host", "RFC 5321 section 3.8",
			&Host{Script: []Cue{{At: Banner, Reply: "421 4.3.2 full", Then: Close}}}, offers(), visits(mx1, mx2)),
		at("a 4yz greeting everywhere is temporary", "RFC 5321 section 4.2.1",
			says(Banner, "450 4.3.2 later"), says(Banner, "554 5.3.2 not here"), wants(queue.Deferred), visits(mx1, mx2)),
		at("a greeting of several lines is one", "RFC 5321 section 4.2.1", says(Banner, "220-one\n220-two\n220 three"), offers(), visits(mx1)),
		at("a greeting that never comes leads to the next host", "RFC 5321 section 4.5.3.2.1",
			&Host{Script: []Cue{{At: Banner, Then: Stall}}}, offers(), visits(mx1, mx2)),
		at("a greeting after four minutes is waited for", "RFC 5321 section 4.5.3.2.1",
			&Host{Script: []Cue{{At: Banner, Delay: 4 * time.Minute}}}, offers(), visits(mx1)),
		at("nonsense for a greeting leads to the next host", "RFC 5321 section 4.2",
			&Host{Script: []Cue{{At: Banner, Raw: "SSH-2.0-OpenSSH_9.2\r\n"}}}, offers(), visits(mx1, mx2)),
		at("a closed connection instead of a greeting leads to the next host", "RFC 5321 section 3.8",
			&Host{Script: []Cue{{At: Banner, Then: Close}}}, offers(), visits(mx1, mx2)),
		at("HELO follows where EHLO is not known", "RFC 5321 section 4.1.4", &Host{NoEHLO: true}, offers(), visits(mx1), judged(func(s *Scenario) string {
			return spoken(s, "HELO client.example")
		})),
		at("HELO does not follow a 4yz to EHLO", "RFC 5321 section 4.1.4", says(Hello, "451 4.3.0 later"), offers(), visits(mx1, mx2)),
		at("EHLO carries the name that was given", "RFC 5321 section 4.1.1.1", offers(), offers(), judged(func(s *Scenario) string {
			return spoken(s, "EHLO client.example")
		})),
		at("extension keywords are known in any case", "RFC 5321 section 4.1.1.1", offers("8bitmime"), offers(),
			visits(mx1), sends(queue.String(eightBitContent), eightBitContent)),
		at("the first line of the reply to EHLO offers nothing", "RFC 5321 section 4.1.1.1",
			says(Hello, "250-8BITMIME greets you\n250 HELP"), offers("8BITMIME"), sends(queue.String(eightBitContent), eightBitContent),
			judged(func(s *Scenario) string {
				if got := s.internet.Hosts[mx1].Commands(); strings.Contains(strings.Join(got, " "), "MAIL FROM") {
					return fmt.Sprintf("8-bit mail offered to %s: %q", mx1, got)
				}
				return ""
			})),
		at("extension lines nobody can read are passed over", "RFC 5321 section 4.1.1.1",
			says(Hello, "250-mx1\n250-\n250-AUTH=LOGIN PLAIN\n250-X-\x01\xff\n250 8BITMIME"), offers(), visits(mx1),
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
		at("a reply of three digits alone is one", form, &Host{Script: []Cue{{At: Mail, Raw: "250\r\n"}, {At: Rcpt, Raw: "250-\r\n250\r\n"}, {At: Final, Raw: "250\r\n"}}}, offers(), visits(mx1)),
		at("the digits decide and not the text of a success", form, says(Final, "250 fatal error 550 refused"), offers(), visits(mx1)),
		at("the digits decide and not the text of a failure", form, says(Rcpt, "550 250 OK accepted"), offers(), wants(queue.Failed), visits(mx1)),
		at("codes nobody knows go by their first digit", "RFC 5321 section 4.3.2",
			&Host{Script: []Cue{{At: Mail, Reply: "259 x"}, {At: Rcpt, Reply: "299 x"}, {At: Final, Reply: "200 x"}}}, offers(), visits(mx1)),
		at("a 4yz nobody knows is temporary", "RFC 5321 section 4.3.2", says(Rcpt, "459 x"), says(Rcpt, "499 x"), wants(queue.Deferred), visits(mx1, mx2)),
		at("a reply with two codes is a fault of the host", form, &Host{Script: []Cue{{At: Rcpt, Raw: "250-x\r\n550 x\r\n"}}}, offers(), visits(mx1, mx2)),
		at("a reply of the sixth class is a fault of the host", form, &Host{Script: []Cue{{At: Mail, Raw: "650 x\r\n"}}}, offers(), visits(mx1, mx2)),
		at("a 3yz to RCPT is a fault of the host", "RFC 5321 section 4.3.2", says(Rcpt, "354 go ahead"), offers(), visits(mx1, mx2)),
		at("a 2yz to DATA asks for no content", "RFC 5321 section 4.3.2", says(Data, "250 ok"), offers(), visits(mx1, mx2)),
		at("octets that are no text break nothing", "RFC 6531 section 3.7.4", says(Rcpt, "550 5.1.1 \x00\xff\x1b[2J"), offers(), wants(queue.Failed), visits(mx1)),
		at("421 in a transaction leads to the next host", "RFC 5321 section 3.8",
			&Host{Script: []Cue{{At: Rcpt, Reply: "421 4.3.2 closing", Then: Close}}}, offers(), visits(mx1, mx2)),
		at("a lost connection in a transaction leads to the next host", "RFC 5321 section 3.8",
			&Host{Script: []Cue{{At: Mail, Then: Reset}}}, offers(), visits(mx1, mx2)),
		at("a host that stalls in a transaction is left", "RFC 5321 section 4.5.3.2",
			&Host{Script: []Cue{{At: Rcpt, Then: Stall}}}, offers(), visits(mx1, mx2)),
		at("a reply that drips in for hours is not waited for", "RFC 5321 section 4.5.3.2",
			&Host{Script: []Cue{{At: Mail, Reply: "250 " + strings.Repeat("x", 2000), Drip: time.Minute}}}, offers(), visits(mx1, mx2)),
	}
}
