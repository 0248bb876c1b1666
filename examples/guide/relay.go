package guide

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

// Relay is a backend for go-smtp's server that passes on what it accepts.
type Relay struct {
	Agent *delivery.Agent
	Name  string // of this host, for the Received field
}

// NewSession is called for each connection.
func (r *Relay) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{relay: r, client: c.Hostname(), addr: c.Conn().RemoteAddr().String()}, nil
}

type session struct {
	relay        *Relay
	client, addr string
	message      queue.Message
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.message = queue.Message{From: from}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.message.Recipients = append(s.message.Recipients, queue.Recipient{Address: to})
	return nil
}

func (s *session) Data(r io.Reader) error {
	var content bytes.Buffer
	fmt.Fprintf(&content, "Received: from %s (%s)\r\n\tby %s with ESMTP; %s\r\n",
		s.client, s.addr, s.relay.Name, time.Now().Format(time.RFC1123Z))
	if _, err := content.ReadFrom(r); err != nil {
		return err
	}
	s.message.Content = queue.Bytes(content.Bytes())
	_, err := s.relay.Agent.Submit(context.Background(), &s.message)
	return reply(err)
}

// Reset and Logout end a transaction and a session.
func (s *session) Reset()        { s.message = queue.Message{} }
func (s *session) Logout() error { return nil }

// reply is what the client is told. Only nil makes the message ours.
func reply(err error) error {
	e, ok := errors.AsType[*delivery.Error](err)
	switch {
	case err == nil:
		return nil
	case ok && !e.Temporary():
		return &smtp.SMTPError{Code: 554, EnhancedCode: enhanced(e.Enhanced), Message: e.Reason()}
	case errors.Is(err, queue.ErrFull):
		return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 3, 1}, Message: "queue is full"}
	}
	return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "try again later"}
}

func enhanced(status string) (code smtp.EnhancedCode) {
	if _, err := fmt.Sscanf(status, "%d.%d.%d", &code[0], &code[1], &code[2]); err != nil {
		return smtp.EnhancedCodeNotSet
	}
	return code
}
