package smtptest

import (
	"errors"
	"io"
	"strconv"
	"strings"
)

// bdat takes one chunk (RFC 3030 section 2).
func (s *session) bdat(c command) error {
	size, last, ok := parseChunk(c.arg)
	if !ok {
		s.breach(RuleChunkSyntax, "BDAT "+c.arg)
		return s.reply(Chunk, "501 5.5.4 BDAT size [LAST]")
	}
	if !s.extended || !s.extensions.has("CHUNKING") {
		s.breach(RuleNotOffered, "BDAT "+c.arg)
	}
	usual := s.checkChunk(c)
	tx := s.tx
	b := newBody(s, &transaction{declared: -1, binary: true, eightBit: true, utf8: true}) // for octets that are discarded
	if usual == "" {
		b = tx.body
	}
	if err := s.octets(b, size); err != nil {
		return err
	}
	if more, _ := s.more(); more && !s.extensions.has("PIPELINING") {
		s.breach(RulePipelining, "BDAT and then "+s.peeked())
	}
	if usual != "" {
		nth := 0
		if tx != nil {
			tx.bdats++
			nth = tx.bdats
		}
		_, err := s.answer("", usual, moment{Chunk, nth})
		return err
	}
	tx.bdats++
	tx.chunks = append(tx.chunks, int(size))
	if last {
		tx.last = s.flight
		b.end()
		return s.finish(tx, s.now(Final), moment{Chunk, tx.bdats})
	}
	ok, err := s.answer("", "250 2.0.0 "+strconv.FormatInt(size, 10)+" octets", moment{Chunk, tx.bdats})
	if !ok {
		tx.refused = s.flight
	}
	return err
}

// checkChunk returns the reply to a chunk in the wrong place, or "".
func (s *session) checkChunk(c command) string {
	tx, detail := s.tx, "BDAT "+c.arg
	switch {
	case tx == nil && s.last():
		s.breach(RuleChunkAfterLast, detail)
		return "503 5.5.1 the last chunk was there"
	case tx == nil:
		s.outOfOrder(detail)
		return "503 5.5.1 MAIL first"
	case tx.refused > 0:
		if s.known(tx.refused) {
			s.breach(RuleChunkAfterRefuse, detail)
		}
		return "503 5.5.1 a chunk was refused"
	case tx.rcpts == 0:
		s.withoutRcpt(tx, detail)
		return "503 5.5.1 RCPT first"
	case len(tx.recipients) == 0:
		if s.known(tx.rcptFlight) {
			s.breach(RuleNoRecipients, detail)
		}
		tx.refused = max(s.flight, 1)
		return "554 5.5.1 no valid recipients"
	default:
		return ""
	}
}

// last reports whether the command before this one was a BDAT with LAST.
func (s *session) last() bool {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	var said []string
	for i := len(s.rec.Lines) - 1; i >= 0 && len(said) < 2; i-- {
		if s.rec.Lines[i].Client && !strings.HasPrefix(s.rec.Lines[i].Text, "[") {
			said = append(said, strings.ToUpper(s.rec.Lines[i].Text))
		}
	}
	return len(said) == 2 && strings.HasPrefix(said[1], "BDAT ") && strings.HasSuffix(said[1], " LAST")
}

func parseChunk(arg string) (size int64, last, ok bool) {
	number, rest, more := strings.Cut(arg, " ")
	if more && !strings.EqualFold(rest, "LAST") {
		return 0, false, false
	}
	n, err := strconv.ParseUint(number, 10, 63)
	return int64(n), more, err == nil
}

// octets reads a chunk. If a server has to wait for it, it first sends its waiting
// replies.
func (s *session) octets(b *body, n int64) error {
	buf := make([]byte, 4096)
	if err := s.arrive(b); err != nil {
		return err
	}
	for n > 0 {
		if s.in.Buffered() == 0 {
			if err := s.flush(); err != nil {
				return err
			}
		}
		k, err := s.in.Read(buf[:min(n, int64(len(buf)))])
		b.write(buf[:k])
		n -= int64(k)
		if err != nil && (n > 0 || !errors.Is(err, io.EOF)) {
			return err
		}
		if err := s.arrive(b); err != nil {
			return err
		}
	}
	return nil
}
