package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
)

// Session is one SMTP session over one connection, client side. Its methods
// follow each other as the package comment says. It is for one goroutine at a
// time.
type Session struct {
	conn net.Conn
}

var errSoon = errors.New("smtp: in the making")

// New returns a session over conn, which it owns from now on. Nothing is read
// or written. The error says what is wrong with cfg.Hello. cfg may be nil.
func New(conn net.Conn, cfg *Config) (*Session, error) { return &Session{conn: conn}, errSoon }

// Greet reads the greeting (RFC 5321 section 4.3.1). The error is an *Error;
// where it is Replied, the session can still Quit.
func (s *Session) Greet(ctx context.Context) error { return errSoon }

// Hello says EHLO, or HELO where the server does not know EHLO (RFC 5321
// section 4.1.1.1), and learns what the server offers. What an earlier reply
// offered is forgotten. The error is an *Error.
func (s *Session) Hello(ctx context.Context) error { return errSoon }

// StartTLS says STARTTLS and makes the handshake (RFC 3207). Then the session
// knows nothing of the server: Hello comes next. Below TLS 1.2 there is no
// session whatever config says, and no renegotiation.
//
// The error is an *Error. Where it is Unfit (STARTTLS is not offered, or TLS is
// in use already) or Replied, the session is as it was, in clear; otherwise it
// is over.
func (s *Session) StartTLS(ctx context.Context, config *tls.Config) error { return errSoon }

// Handshake starts TLS at once, before Greet (RFC 8314 section 3). The error is
// an *Error, after which the session is over.
func (s *Session) Handshake(ctx context.Context, config *tls.Config) error { return errSoon }

// Extensions is what the newest EHLO reply offers. Nobody may change it.
func (s *Session) Extensions() *Extensions { return nil }

// TLS is the state of the TLS connection, nil in clear.
func (s *Session) TLS() *tls.ConnectionState { return nil }

// MaxRecipients is how many recipients the server takes in one transaction, as
// far as it is known: by LIMITS, or learnt from its refusals. 0 is no limit
// known. Send keeps to it by itself.
func (s *Session) MaxRecipients() int { return 0 }

// Send makes one transaction. What became of each recipient is in the result,
// always; nothing is judged here, and nothing sent twice.
//
// When ctx ends, Send returns at once and the session is over. A message whose
// last octet was not sent by then was not delivered.
func (s *Session) Send(ctx context.Context, t *Transaction) Result { return Result{} }

// Check looks, without waiting, whether a session that lies idle is still good:
// whether the server has closed it or has said something, such as 421. The
// error is an *Error, after which the session is over.
func (s *Session) Check() error { return errSoon }

// Reusable reports whether the session may carry another transaction: not after
// 421, a timeout, a protocol error, or as many as LIMITS allows (RFC 5321
// section 4.1.4, RFC 9422).
func (s *Session) Reusable() bool { return false }

// Quit says QUIT where that still makes sense, waits a little for the answer,
// and closes the connection. Its outcome changes nothing.
func (s *Session) Quit(ctx context.Context) {}

// Close closes the connection without QUIT.
func (s *Session) Close() error { return s.conn.Close() }
