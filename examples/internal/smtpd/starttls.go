package smtpd

import (
	"crypto/tls"
	"time"
)

func (s *session) startTLS(argument string) {
	switch {
	case s.server.TLS == nil || s.secure:
		s.refuse(502, "5.5.1", "not offered")
		return
	case argument != "":
		s.refuse(501, "5.5.4", "no argument is allowed")
		return
	case len(s.wire.buffered()) > 0:
		// Text that was received in clear does not count once TLS is on.
		s.say(501, "5.5.1", "nothing may follow STARTTLS before its reply")
		s.over = true
		return
	}
	s.say(220, "2.0.0", "go ahead")
	if s.wire.flush(s.server.idle()) != nil || s.wire.ready(s.server.idle()) != nil {
		s.over = true
		return
	}
	conn := tls.Server(s.wire.raw, s.server.TLS)
	if err := conn.Handshake(); err != nil {
		s.over = true
		return
	}
	s.wire.conn, s.secure = conn, true
	s.begun, s.hello, s.user = false, "", ""
	s.reset()
}

// handshake makes the handshake of a connection with TLS from the start, which must be
// over before the greeting.
func (s *session) handshake() bool {
	conn, ok := s.wire.conn.(*tls.Conn)
	if !ok {
		return true
	}
	_ = s.wire.raw.SetWriteDeadline(time.Now().Add(s.server.idle()))
	s.secure = true
	return s.wire.ready(s.server.idle()) == nil && conn.Handshake() == nil
}
