package smtpd

import (
	"strconv"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// receptionID is unique among the messages of this host: microseconds and a count.
func (s *Server) receptionID() string {
	b := strconv.AppendInt(nil, time.Now().UnixMicro(), 36)
	return string(strconv.AppendUint(b, 36*36+s.begun.Add(1)%(36*36*35), 36))
}

// received returns the trace field that every relay adds. It contains the recipient only
// if there is one, so that no recipient learns about another.
func (t *Transaction) received(host string, now time.Time) []byte {
	field := queue.Received{From: t.Hello, Client: t.Client, By: host, With: t.protocol(), ID: t.ID, Time: now}
	if len(t.Recipients) == 1 {
		field.For = t.Recipients[0].Address
	}
	return []byte(field.String())
}

// protocol is the name from the registry of RFC 3848 and RFC 6531.
func (t *Transaction) protocol() string {
	switch {
	case t.UTF8 && t.User != "": // which is under TLS
		return "UTF8SMTPSA"
	case t.User != "":
		return "ESMTPSA"
	case t.UTF8 && t.Secure:
		return "UTF8SMTPS"
	case t.UTF8:
		return "UTF8SMTP"
	case t.Secure:
		return "ESMTPS"
	case t.Extended:
		return "ESMTP"
	}
	return "SMTP"
}
