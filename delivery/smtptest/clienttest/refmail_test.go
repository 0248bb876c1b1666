package clienttest_test

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// content reads the whole message; whole is false where it cannot be read, or
// is not as long as it was said to be.
func (d *dialogue) content(m *queue.Message) (text string, whole bool) {
	r, err := m.Content.Open()
	if err != nil {
		return "", false
	}
	defer r.Close()
	p, err := io.ReadAll(r)
	whole = err == nil && int64(len(p)) == m.Content.Size()
	text = string(p)
	if !d.has("bare line feeds are sent") {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	}
	if !strings.HasSuffix(text, "\r\n") && !d.has("the last line end is not added") {
		text += "\r\n"
	}
	if d.has("an empty line is added at the end") {
		text += "\r\n"
	}
	return text, whole || d.has("content that broke off is sent")
}

// transactions sends to all recipients, in as many transactions as it takes.
func (d *dialogue) transactions(m *queue.Message, open []*state) {
	text, whole := d.content(m)
	if !whole {
		mark(open, notNow)
		return
	}
	if v, ok := d.fits(m, text, open); !ok {
		mark(open, v)
		return
	}
	for len(open) > 0 && !d.broken {
		n := len(open)
		for field := range strings.FieldsSeq(d.extensions["LIMITS"]) {
			if most, ok := strings.CutPrefix(field, "RCPTMAX="); ok && !d.has("LIMITS is not known") {
				if k, err := strconv.Atoi(most); err == nil {
					n = min(n, k)
				}
			}
		}
		rest := d.transaction(m, text, open[:n])
		if len(rest) == n {
			mark(rest, notNow)
			return
		}
		open = append(rest, open[n:]...)
	}
	mark(open, notNow)
}

// fits reports whether the host can take the message at all.
func (d *dialogue) fits(m *queue.Message, text string, open []*state) (verdict, bool) {
	ascii := func(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0 }
	if n, _ := strconv.Atoi(d.extensions["SIZE"]); n > 0 && len(text) > n && !d.has("SIZE is not looked at") {
		return hostRefuses, false
	}
	if !ascii(text) && !d.offers("8BITMIME") && !d.has("8-bit content is sent to anybody") {
		return hostRefuses, false
	}
	for _, s := range open {
		if !ascii(s.recipient.Address) && !d.offers("SMTPUTF8") && !d.has("addresses beyond ASCII are sent to anybody") {
			return hostRefuses, false
		}
	}
	return 0, true
}

func (d *dialogue) mailLine(m *queue.Message, text string, open []*state) string {
	line := "MAIL FROM:<" + m.From + ">"
	if m.From == "" && d.has("the null reverse-path is replaced") {
		line = "MAIL FROM:<postmaster@" + d.Hello + ">"
	}
	if d.offers("SIZE") {
		line += fmt.Sprintf(" SIZE=%d", len(text))
	}
	eight := strings.IndexFunc(text, func(r rune) bool { return r > 127 }) >= 0
	if eight && d.offers("8BITMIME") && !d.has("8-bit content is not declared") {
		line += " BODY=8BITMIME"
	}
	utf8 := d.has("SMTPUTF8 is always used")
	for _, s := range open {
		utf8 = utf8 || strings.IndexFunc(s.recipient.Address, func(r rune) bool { return r > 127 }) >= 0
	}
	if utf8 && d.offers("SMTPUTF8") {
		line += " SMTPUTF8"
	}
	return line
}

func (d *dialogue) rcptLine(s *state) string {
	address := s.recipient.Address
	if d.has("local parts are put in lower case") {
		address = strings.ToLower(address)
	}
	line := "RCPT TO:<" + address + ">"
	if s.recipient.Notify == queue.NotifySuccess && (d.offers("DSN") || d.has("DSN parameters are sent to anybody")) {
		line += " NOTIFY=SUCCESS ORCPT=rfc822;" + strings.ReplaceAll(s.recipient.Original, "+", "+2B")
	}
	return line
}

// transaction sends to some recipients, and returns those that were too many.
func (d *dialogue) transaction(m *queue.Message, text string, open []*state) (rest []*state) {
	if r := d.ask(d.mailLine(m, text, open), 5*time.Minute); r.class() != 2 {
		v := notNow
		if r.class() == 5 && !d.has("a refused MAIL is offered elsewhere") {
			v = refused
		}
		mark(open, v)
		return nil
	}
	var accepted []*state
	for i, s := range open {
		v, ok, many := d.judgeRcpt(d.ask(d.rcptLine(s), 5*time.Minute), len(accepted) > 0)
		switch {
		case ok:
			accepted = append(accepted, s)
		case many && !d.has("too many recipients is put off"):
			rest = append(rest, open[i:]...)
		default:
			mark([]*state{s}, v)
		}
		if d.broken {
			mark(accepted, notNow)
			mark(open[i+1:], notNow)
			return nil
		}
		if many && !d.has("too many recipients is put off") {
			break
		}
	}
	if len(accepted) == 0 && !d.has("content is sent though nobody wants it") {
		d.ask("RSET", 5*time.Minute)
		return rest
	}
	mark(accepted, d.send(text))
	return rest
}

// judgeRcpt reads the reply to RCPT.
func (d *dialogue) judgeRcpt(r reply, some bool) (v verdict, ok, many bool) {
	switch {
	case r.code == 251 && d.has("251 is a failure"):
		return refused, false, false
	case r.code == 551 && d.has("551 is temporary"):
		return notNow, false, false
	case r.class() == 2:
		return 0, true, false
	case some && (r.code == 452 || r.code == 552):
		return notNow, false, true
	case r.class() == 5 && d.has("a refused recipient is offered elsewhere"):
		return notNow, false, false
	case r.class() == 5, r.class() == 4 && d.has("a recipient refused for now is offered nowhere else"):
		return refused, false, false
	case r.class() == 3:
		d.broken = true
	}
	return notNow, false, false
}
