package smtpd

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/nexthop-mail/nexthop/queue"
)

func (s *session) mail(ctx context.Context, argument string) {
	switch {
	case !s.begun:
		s.refuse(503, "5.5.1", "EHLO first")
		return
	case s.tx != nil:
		s.refuse(503, "5.5.1", "one transaction at a time")
		return
	}
	path, parameters, err := cutPath(argument, "FROM", s.trusted)
	if err != nil {
		s.refuse(501, "5.5.4", err.Error())
		return
	}
	t := &Transaction{
		Client: s.client, Trusted: s.trusted, Hello: s.hello, Secure: s.secure, Extended: s.extended, User: s.user,
		From: strings.Clone(path),
	}
	if r := t.mailParameters(parameters); r.Failed() {
		s.refuse(r.Code, r.Enhanced, r.Text)
		return
	}
	if r := s.reversePath(ctx, t); r.Failed() {
		s.refuse(r.Code, r.Enhanced, r.Text)
		return
	}
	t.ID = s.server.receptionID()
	s.tx = t
	s.say(250, "2.1.0", "ok")
}

// reversePath looks at what MAIL said.
func (s *session) reversePath(ctx context.Context, t *Transaction) Reply {
	_, err := queue.Split(&queue.Message{From: t.From, Content: queue.String("")})
	bad, _ := errors.AsType[*queue.MessageError](err)
	switch {
	case bad != nil && bad.Field == "From":
		return Reply{553, "5.1.7", "the reverse-path is not an address: " + bad.Err.Error()}
	case !isASCII(t.From) && !t.UTF8:
		return Reply{553, "5.6.7", "an address beyond ASCII needs SMTPUTF8"}
	case t.Size > s.server.maxSize():
		return Reply{552, "5.3.4", "a message has at most " + strconv.FormatInt(s.server.maxSize(), 10) + " octets here"}
	case s.server.Mail != nil:
		return s.server.Mail(ctx, t)
	}
	return Reply{}
}

func (s *session) rcpt(ctx context.Context, argument string) {
	switch {
	case s.tx == nil || s.body != nil:
		s.refuse(503, "5.5.1", "MAIL first")
		return
	case len(s.tx.Recipients) >= s.server.maxRecipients(), s.envelope >= maxEnvelope:
		s.say(452, "4.5.3", "enough recipients: send to those, then to the others")
		return
	case s.rejected >= maxRejected && !s.known():
		s.enoughRejected()
		return
	}
	path, parameters, err := cutPath(argument, "TO", s.trusted)
	if err != nil {
		s.reject(Reply{501, "5.5.4", err.Error()})
		return
	}
	rcpt := queue.Recipient{Address: strings.Clone(path)}
	if r := recipientParameters(&rcpt, parameters); r.Failed() {
		s.reject(r)
		return
	}
	if r := s.recipient(ctx, &rcpt); r.Failed() {
		s.reject(r)
		return
	}
	cost := int64(recipientCost + len(rcpt.Address) + len(rcpt.OriginalType) + len(rcpt.Original))
	if !s.holder.hold(cost) {
		s.say(452, "4.3.1", "no room for more recipients of this client now")
		return
	}
	s.envelope += cost
	s.tx.Recipients = append(s.tx.Recipients, rcpt)
	s.say(250, "2.1.5", "ok")
}

// reject refuses a recipient. This does not count as a mistake that could end the
// session, because other recipients may have been accepted, and must get the message.
func (s *session) reject(r Reply) {
	s.rejected++
	s.wire.reply(r)
}

// enoughRejected answers a stranger who has had so many recipients refused that he
// seems to be guessing. The recipients are not looked up any more.
func (s *session) enoughRejected() {
	if len(s.tx.Recipients) > 0 {
		s.say(452, "4.5.3", "too many recipients were refused: send to those that were taken")
		return
	}
	s.say(421, "4.7.0", "too many recipients were refused")
	s.over = true
}

// recipient looks at what RCPT said, and asks the server's user about it.
func (s *session) recipient(ctx context.Context, rcpt *queue.Recipient) Reply {
	postmaster := s.server.isPostmaster(rcpt.Address, s.wire)
	if postmaster {
		rcpt.Address = s.server.postmaster()
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
	switch {
	case postmaster:
		return Reply{}
	case !isASCII(rcpt.Address) && !s.tx.UTF8:
		return Reply{553, "5.6.7", "an address beyond ASCII needs SMTPUTF8"}
	case s.server.Rcpt == nil:
		return Reply{}
	}
	return s.server.Rcpt(ctx, s.tx, rcpt, parts[0].Destination)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
