package session

import "time"

// Stages are how long the stages of an attempt took.
type Stages struct {
	DNS     time.Duration // the route
	Connect time.Duration // the TCP connection
	Hello   time.Duration // the greeting, EHLO and AUTH
	TLS     time.Duration // STARTTLS and the handshake
	Mail    time.Duration // MAIL, RCPT and DATA, with content that goes along with them
	Content time.Duration // the content
	Reply   time.Duration // the reply to the content
}
