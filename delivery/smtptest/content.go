package smtptest

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"time"
)

func (s *session) data() error {
	tx := s.tx
	usual := "354 go ahead"
	switch {
	case tx == nil:
		s.outOfOrder("DATA")
		usual = "503 5.5.1 MAIL first"
	case tx.bdats > 0:
		s.breach(RuleMixed, "DATA after BDAT")
		usual = "503 5.5.1 BDAT was used"
	case tx.rcpts == 0:
		s.withoutRcpt(tx, "DATA")
		usual = "503 5.5.1 RCPT first"
	case len(tx.recipients) == 0:
		if s.known(tx.rcptFlight) {
			s.breach(RuleNoRecipients, "DATA")
		}
		usual = "554 5.5.1 no valid recipients"
	}
	if tx != nil && tx.binary {
		s.breach(RuleBinaryData, "DATA")
	}
	text, err := s.play("", usual, s.now(Data))
	if err != nil {
		return err
	}
	if !strings.HasPrefix(text, "354") {
		s.dataDenied = text != ""
		return nil
	}
	if tx == nil {
		tx = &transaction{declared: -1}
		tx.body = newBody(s, tx)
	}
	s.tx = tx
	return s.receive(tx)
}

// withoutRcpt reports content for which no RCPT has come; one that was skipped
// did come.
func (s *session) withoutRcpt(tx *transaction, detail string) {
	if tx.arrived == 0 {
		s.breach(RuleSequence, detail+" without RCPT")
	}
}

// receive takes content up to the final dot.
func (s *session) receive(tx *transaction) error {
	if err := s.arrive(tx.body); err != nil {
		return err
	}
	if more, _ := s.more(); !more {
		if err := s.turn(); err != nil {
			return err
		}
	}
	if err := s.dotted(tx.body); err != nil {
		return err
	}
	if len(tx.recipients) == 0 && tx.body.size > 0 && tx.rcpts > 0 {
		s.breach(RuleContentRefused, fmt.Sprintf("%d octets", tx.body.size))
	}
	if more, _ := s.more(); more && !(s.extended && s.extensions.has("PIPELINING")) {
		s.breach(RulePipelining, "final dot and then "+s.peeked())
	}
	return s.finish(tx, s.now(Final))
}

// dotted reads lines up to the final dot, and takes the transparency dots off.
func (s *session) dotted(b *body) error {
	start := true // at the start of a line
	var tail byte // the octet before
	for {
		p, err := s.in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if start && p[0] == '.' {
			if string(p) == ".\r\n" {
				b.end()
				return nil
			}
			if len(p) < 2 || p[1] != '.' {
				b.once(RuleDot, string(p))
			}
			tail, p = '.', p[1:]
		}
		n := len(p)
		if n > 1 {
			tail = p[n-2]
		}
		start = err == nil && tail == '\r'
		b.write(p)
		if n > 0 {
			tail = p[n-1]
		}
		if err := s.arrive(b); err != nil {
			return err
		}
	}
}

// finish answers content that has arrived whole.
func (s *session) finish(tx *transaction, now ...moment) error {
	s.log(true, fmt.Sprintf("[%d octets]", tx.body.size))
	s.tx = nil
	usual := "250 2.0.0 taken"
	switch most := s.extensions.size(); {
	case len(tx.recipients) == 0:
		usual = "554 5.5.1 no valid recipients"
	case most > 0 && tx.body.size > most:
		usual = "552 5.3.4 too big"
	}
	tx.body.judge()
	m := Message{
		From: tx.from, Params: tx.params, Recipients: tx.recipients, Content: tx.body.kept,
		Size: tx.body.size, Chunks: tx.chunks, Hello: s.hello, User: s.user, TLS: s.tls, Conn: s.number, At: time.Now(),
	}
	i := s.keep(m)
	text, err := s.play("", usual, now...)
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	s.host.messages[i].Reply = strings.TrimSuffix(text, "\r\n")
	return err
}

// keep records a message, and returns its place.
func (s *session) keep(m Message) int {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	s.host.messages = append(s.host.messages, m)
	return len(s.host.messages) - 1
}
