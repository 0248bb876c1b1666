package smtpd

import (
	"strconv"
	"time"
)

// receptionID is unique among the messages of this host: microseconds and a count.
func (s *Server) receptionID() string {
	b := strconv.AppendInt(nil, time.Now().UnixMicro(), 36)
	return string(strconv.AppendUint(b, 36*36+s.begun.Add(1)%(36*36*35), 36))
}

// received is the trace field that every relay adds (RFC 5321 section 4.4). The
// recipient stands in it only where there is one, so that nobody learns of another.
func (t *Transaction) received(host string, now time.Time) []byte {
	b := make([]byte, 0, 256)
	b = append(append(b, "Received: from "...), t.Hello...)
	b = append(b, " (["...)
	if t.Client.Is6() {
		b = append(b, "IPv6:"...)
	}
	b = append(t.Client.AppendTo(b), "])\r\n\tby "...)
	b = append(append(b, host...), " with "...)
	b = append(append(b, t.protocol()...), " id "...)
	b = append(b, t.ID...)
	if len(t.Recipients) == 1 {
		b = append(append(append(b, "\r\n\tfor <"...), t.Recipients[0].Address...), '>')
	}
	b = append(b, ";\r\n\t"...)
	return append(now.AppendFormat(b, time.RFC1123Z), "\r\n"...)
}

// protocol is the name from the registry of RFC 3848 and RFC 6531.
func (t *Transaction) protocol() string {
	switch {
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
