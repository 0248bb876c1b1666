package guide

import (
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
	content, err := io.ReadAll(r) // a real relay writes it to a file
	if err != nil {
		return err
	}
	s.message.Content = queue.Prepend(fmt.Sprintf("Received: from %s (%s)\r\n\tby %s with ESMTP; %s\r\n",
		s.client, s.addr, s.relay.Name, time.Now().Format(time.RFC1123Z)), queue.Bytes(content))
	_, err = s.relay.Agent.Submit(context.Background(), &s.message)
	return reply(err)
}

// Reset and Logout end a transaction and a session.
func (s *session) Reset()        { s.message = queue.Message{} }
func (s *session) Logout() error { return nil }

// reply converts the error of Submit to an SMTP reply. With nil, the server takes over the
// message.
func reply(err error) error {
	if err == nil {
		return nil
	}
	code, status, text := 451, "4.3.0", "try again later"
	if e, ok := errors.AsType[*delivery.Error](err); ok {
		code, status = e.Status()
		text = e.Reason()
	} else if errors.Is(err, queue.ErrFull) {
		code, status, text = 452, "4.3.1", "the queue is full"
	}
	answer := &smtp.SMTPError{Code: code, Message: text}
	if n, _ := fmt.Sscanf(status, "%d.%d.%d", &answer.EnhancedCode[0], &answer.EnhancedCode[1], &answer.EnhancedCode[2]); n < 3 {
		answer.EnhancedCode = smtp.EnhancedCodeNotSet
	}
	return answer
}
