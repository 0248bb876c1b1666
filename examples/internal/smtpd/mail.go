package smtpd

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/nexthop-mail/nexthop/queue"
)

func (s *session) mail(argument string) {
	switch {
	case s.hello == "":
		s.refuse(503, "5.5.1", "EHLO first")
		return
	case s.tx != nil:
		s.refuse(503, "5.5.1", "one transaction at a time")
		return
	}
	path, parameters, err := cutPath(argument, "FROM:")
	if err != nil {
		s.refuse(501, "5.5.4", err.Error())
		return
	}
	t := &Transaction{
		Client: s.client, Hello: s.hello, Secure: s.secure, Extended: s.extended, From: path,
	}
	for _, p := range parameters {
		if r := t.mailParameter(p); r.Failed() {
			s.refuse(r.Code, r.Enhanced, r.Text)
			return
		}
	}
	if r := s.reversePath(t); r.Failed() {
		s.refuse(r.Code, r.Enhanced, r.Text)
		return
	}
	t.ID = s.server.receptionID()
	s.tx = t
	s.say(250, "2.1.0", "ok")
}

// reversePath looks at what MAIL said.
func (s *session) reversePath(t *Transaction) Reply {
	_, err := queue.Split(&queue.Message{From: t.From, Content: queue.String("")})
	bad, _ := errors.AsType[*queue.MessageError](err)
	switch {
	case bad != nil && bad.Field == "From":
		return Reply{553, "5.1.7", "the reverse-path is no address: " + cause(bad)}
	case !isASCII(t.From) && !t.UTF8:
		return Reply{553, "5.6.7", "an address beyond ASCII needs SMTPUTF8"}
	case t.Size > s.server.maxSize():
		return Reply{552, "5.3.4", "a message has at most " + strconv.FormatInt(s.server.maxSize(), 10) + " octets here"}
	case t.RequireTLS && !s.secure:
		return Reply{530, "5.7.0", "REQUIRETLS needs TLS"}
	}
	return Reply{}
}

func (s *session) rcpt(ctx context.Context, argument string) {
	if s.tx == nil || s.body != nil {
		s.refuse(503, "5.5.1", "MAIL first")
		return
	}
	path, parameters, err := cutPath(argument, "TO:")
	if err != nil {
		s.refuse(501, "5.5.4", err.Error())
		return
	}
	rcpt := queue.Recipient{Address: path}
	for _, p := range parameters {
		if r := recipientParameter(&rcpt, p); r.Failed() {
			s.refuse(r.Code, r.Enhanced, r.Text)
			return
		}
	}
	if r := s.recipient(ctx, &rcpt); r.Failed() {
		s.refuse(r.Code, r.Enhanced, r.Text)
		return
	}
	s.tx.Recipients = append(s.tx.Recipients, rcpt)
	s.say(250, "2.1.5", "ok")
}

// recipient looks at what RCPT said, and asks the server's user about it.
func (s *session) recipient(ctx context.Context, rcpt *queue.Recipient) Reply {
	if len(s.tx.Recipients) >= s.server.maxRecipients() {
		return Reply{452, "4.5.3", "too many recipients"}
	}
	if strings.EqualFold(rcpt.Address, "postmaster") {
		rcpt.Address = "postmaster@" + s.server.Name // RFC 5321 section 4.5.1
	}
	parts, err := queue.Split(&queue.Message{
		Recipients: []queue.Recipient{*rcpt}, Content: queue.String(""),
	})
	if err != nil {
		enhanced := "5.1.3"
		if bad, ok := errors.AsType[*queue.MessageError](err); ok {
			enhanced, err = bad.Enhanced, bad.Err
		}
		return Reply{553, enhanced, "no address mail can be sent to: " + err.Error()}
	}
	if !isASCII(rcpt.Address) && !s.tx.UTF8 {
		return Reply{553, "5.6.7", "an address beyond ASCII needs SMTPUTF8"}
	}
	if s.server.Rcpt == nil {
		return Reply{}
	}
	return s.server.Rcpt(ctx, s.tx, rcpt, parts[0].Destination)
}

func cause(e *queue.MessageError) string {
	if e.Err == nil {
		return "?"
	}
	return e.Err.Error()
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
