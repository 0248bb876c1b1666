package delivery

import (
	"time"

	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// Timeouts bound the steps of a dialogue, each by itself: a long message is
// never cut off by a limit on the whole. A zero field is its default, which is
// what RFC 5321 section 4.5.3.2 asks for at least.
type Timeouts struct {
	Greeting time.Duration // the banner; default 5 min
	Hello    time.Duration // EHLO and HELO; default 5 min
	StartTLS time.Duration // STARTTLS and the handshake; default 5 min
	Auth     time.Duration // each step of AUTH; default 5 min
	Mail     time.Duration // default 5 min
	Rcpt     time.Duration // each; default 5 min
	Data     time.Duration // until 354; default 2 min
	Write    time.Duration // each block of content; default 3 min
	Final    time.Duration // after the final dot; default 10 min
	Reset    time.Duration // default 5 min
	Quit     time.Duration // default 10 s
}

// dialogue is the timeouts as package smtp has them.
func (t Timeouts) dialogue() smtp.Timeouts {
	return smtp.Timeouts{
		Greeting: t.Greeting, Hello: t.Hello, StartTLS: t.StartTLS,
		Auth: t.Auth, Mail: t.Mail, Rcpt: t.Rcpt, Data: t.Data, Write: t.Write,
		Final: t.Final, Reset: t.Reset, Quit: t.Quit,
	}
}
