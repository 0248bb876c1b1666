package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"time"
)

var (
	errNoStartTLS = errors.New("STARTTLS is not offered")
	errTLSAlready = errors.New("TLS is in use already")
	errInjected   = errors.New("octets in clear after the reply to STARTTLS")
)

// StartTLS sends STARTTLS and makes the handshake (RFC 3207). The session then forgets
// everything about the server, and Hello must follow. TLS below 1.2 and renegotiation
// are never used, whatever config says.
//
// The error is an *Error. If it is Unfit (STARTTLS is not offered, or TLS is in use
// already) or Replied, the session continues in clear; otherwise it is over. Its Doubt
// has OptTLS if TLS itself may not work: not after octets in clear that follow the
// reply, or precede STARTTLS.
func (s *Session) StartTLS(ctx context.Context, config *tls.Config) error {
	if e := s.begin(ctx, StageStartTLS, 0); e != nil {
		return e
	}
	defer s.end()
	switch {
	case s.tls != nil:
		return &Error{Stage: StageStartTLS, Kind: Unfit, Err: errTLSAlready}
	case !s.ext.StartTLS:
		return &Error{Stage: StageStartTLS, Kind: Unfit, Err: errNoStartTLS}
	}
	r, e := s.say(StageStartTLS, s.cfg.Timeouts.StartTLS, "STARTTLS", "")
	switch {
	case e != nil:
		return s.doubtTLS(e)
	case r.Negative():
		if r.Code != 421 {
			s.refused |= OptTLS
			if r.Class() == 4 {
				s.brief |= OptTLS
			}
		}
		return s.doubtTLS(&Error{Stage: StageStartTLS, Kind: Replied, Reply: r})
	case !r.Positive():
		return s.doubtTLS(s.senseless(StageStartTLS, r))
	}
	// Octets after the reply are meant to be taken for protected ones (RFC 3207 section
	// 6): this is not an accident, and must not be ignored.
	if s.rd.buffered() > 0 {
		s.over = true
		return &Error{Stage: StageStartTLS, Kind: Security, Err: errInjected}
	}
	if e := s.handshake(config); e != nil {
		return s.doubtTLS(e)
	}
	return nil
}

// doubtTLS is an error of STARTTLS or the handshake with what may be wrong there.
func (s *Session) doubtTLS(e *Error) *Error {
	if form, ok := e.form(); ok && (e.Stage == StageStartTLS || e.Stage == StageHandshake) {
		e.Doubt = doubt(OptTLS, form)
	}
	return e
}

// Handshake starts TLS at once, before Greet (RFC 8314 section 3). The error is
// an *Error, after which the session is over.
func (s *Session) Handshake(ctx context.Context, config *tls.Config) error {
	if e := s.begin(ctx, StageHandshake, 0); e != nil {
		return e
	}
	defer s.end()
	if s.tls != nil {
		return &Error{Stage: StageHandshake, Kind: Unfit, Err: errTLSAlready}
	}
	if e := s.handshake(config); e != nil {
		return e
	}
	s.silent = -1 // TLS from the start is not what a session can do without
	return nil
}

// handshake puts TLS over the wire and forgets all that was said in clear.
func (s *Session) handshake(config *tls.Config) *Error {
	s.ext, s.ready, s.learnt = Extensions{}, false, 0
	s.without, s.refused, s.brief, s.trial, s.lacks = s.cfg.Without, 0, 0, 0, 0
	s.rd.release()
	s.wire.readBy(time.Now().Add(s.cfg.Timeouts.StartTLS))
	config = safe(config)
	if s.without&OptModern != 0 {
		config = classic(config)
	}
	conn := tls.Client(s.wire, config)
	if err := conn.Handshake(); err != nil {
		e := s.fail(StageHandshake, err)
		if e.Kind == Closed || e.Kind == Protocol {
			e.Kind = BadTLS
		}
		return e
	}
	s.tls, s.conn, s.rd.src, s.silent = conn, conn, conn, s.rd.total
	return nil
}

// safe returns config with the settings that are not negotiable (RFC 8996, RFC 9325
// section 3).
func safe(config *tls.Config) *tls.Config {
	if config == nil {
		config = &tls.Config{}
	}
	if config.MinVersion >= tls.VersionTLS12 && config.Renegotiation == tls.RenegotiateNever {
		return config
	}
	c := config.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.Renegotiation = tls.RenegotiateNever
	return c
}
