package guide

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
	"golang.org/x/sync/errgroup"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

// Relay is a backend for go-smtp's server that passes on the mail it accepts.
type Relay struct {
	Agent   *delivery.Agent
	Name    string                // of this host
	Trusted func(c net.Addr) bool // clients that may send to any domain
	Domains []string              // that this host is an MX host of, for all other clients
}

// Serve accepts mail and delivers it until ctx ends.
func (r *Relay) Serve(ctx context.Context, l net.Listener) error {
	server := smtp.NewServer(r)
	server.Domain, server.EnableDSN = r.Name, true
	server.MaxMessageBytes, server.MaxRecipients = 50<<20, 1000
	server.ReadTimeout, server.WriteTimeout = 5*time.Minute, 5*time.Minute

	running, stopAgent := context.WithCancel(context.WithoutCancel(ctx))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.Agent.Run(running) })
	group.Go(func() error { return server.Serve(l) })
	group.Go(func() error {
		<-ctx.Done() // or one of the others has failed
		defer stopAgent()
		patience, end := context.WithTimeout(running, 10*time.Second)
		defer end()
		_ = server.Shutdown(patience) // it complains of clients that stay
		return nil
	})
	return group.Wait()
}

// NewSession is called for each connection.
func (r *Relay) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{relay: r, conn: c}, nil
}

type session struct {
	relay   *Relay
	conn    *smtp.Conn
	message queue.Message
}

func (s *session) Mail(from string, o *smtp.MailOptions) error {
	s.message = queue.Message{From: from, EnvelopeID: o.EnvelopeID}
	switch o.Return {
	case smtp.DSNReturnFull:
		s.message.Return = queue.ReturnFull
	case smtp.DSNReturnHeaders:
		s.message.Return = queue.ReturnHeaders
	}
	return nil
}

func (s *session) Rcpt(to string, o *smtp.RcptOptions) error {
	client := s.conn.Conn().RemoteAddr()
	domain, err := queue.ParseDestination(to[strings.LastIndexByte(to, '@')+1:])
	if !s.relay.Trusted(client) && (err != nil || !slices.Contains(s.relay.Domains, domain)) {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "relaying is not allowed"}
	}
	ctx, end := context.WithTimeout(context.Background(), 10*time.Second)
	defer end()
	err = s.relay.Agent.Sender.Routable(ctx, s.message.From, to)
	if e, ok := errors.AsType[*delivery.Error](err); ok && !e.Temporary() {
		return reply(e) // it would bounce
	}
	s.message.Recipients = append(s.message.Recipients, recipient(to, o))
	return nil
}

// recipient is a recipient with what the client says of reports.
func recipient(to string, o *smtp.RcptOptions) queue.Recipient {
	r := queue.Recipient{Address: to, Original: o.OriginalRecipient, OriginalType: strings.ToLower(string(o.OriginalRecipientType))}
	for _, n := range o.Notify {
		switch n {
		case smtp.DSNNotifyNever:
			r.Notify |= queue.NotifyNever
		case smtp.DSNNotifyDelayed:
			r.Notify |= queue.NotifyDelay
		case smtp.DSNNotifyFailure:
			r.Notify |= queue.NotifyFailure
		case smtp.DSNNotifySuccess:
			r.Notify |= queue.NotifySuccess
		}
	}
	return r
}

func (s *session) Data(r io.Reader) error {
	content, err := io.ReadAll(r) // a real relay writes it to a file
	if err != nil {
		return err
	}
	trace := queue.Received{From: s.conn.Hostname(), By: s.relay.Name, With: "ESMTP"}
	if addr, ok := s.conn.Conn().RemoteAddr().(*net.TCPAddr); ok {
		trace.Client = addr.AddrPort().Addr()
	}
	s.message.Content = queue.Prepend(trace.String(), queue.Bytes(content))
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
