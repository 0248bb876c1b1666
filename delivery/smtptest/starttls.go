package smtptest

import (
	"bufio"
	"crypto/tls"
	"errors"
)

func (s *session) startTLS() error {
	usual := "220 2.0.0 go ahead"
	switch {
	case s.tls:
		s.breach(RuleStartTLSAgain, "STARTTLS")
		usual = "503 5.5.1 TLS is on"
	case !s.extended || !s.extensions.has("STARTTLS"):
		s.breach(RuleNotOffered, "STARTTLS")
		usual = "502 5.5.1 not implemented"
	case s.tx != nil:
		s.breach(RuleTransactionTLS, "STARTTLS")
		usual = "503 5.5.1 not now"
	case s.in.Buffered() > 0:
		// Text that arrived in clear must never count as sent inside TLS.
		if err := s.reply(StartTLS, "554 5.5.1 talk after STARTTLS"); err != nil {
			return err
		}
		return s.then(Close)
	}
	ok, err := s.answer("", usual, s.now(StartTLS))
	if err != nil || !ok {
		return err
	}
	if err := s.turn(); err != nil {
		return err
	}
	if err := s.handshake(); err != nil {
		return err
	}
	s.hello, s.extended, s.rehello, s.extensions, s.user = "", false, true, nil, ""
	return s.sayEarly(Handshake)
}

// handshake does what the script says instead of the TLS handshake, or makes it.
func (s *session) handshake() error {
	if c := s.cue("", s.now(Handshake)); c != nil {
		if _, err := s.perform(c, Handshake, ""); err != nil {
			return err
		}
		if !c.usual() {
			s.excused = true
			_ = s.flush()
			s.drain()
			return errOver
		}
	}
	config, err := s.host.config()
	if err != nil {
		return err
	}
	conn := tls.Server(s.base, config)
	if err := conn.HandshakeContext(s.ctx); err != nil {
		if plain := (tls.RecordHeaderError{}); errors.As(err, &plain) {
			s.breach(RulePlaintext, string(plain.RecordHeader[:]))
		}
		return err
	}
	state := conn.ConnectionState()
	s.conn, s.tls = conn, true
	s.in = bufio.NewReader(conn)
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	s.rec.TLS = &state
	return nil
}
