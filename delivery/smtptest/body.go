package smtptest

import "fmt"

// body takes content in, and looks at it on the way.
type body struct {
	s    *session
	tx   *transaction
	kept []byte
	size int64

	broken map[Rule]bool
	tail   byte // the octet before
	line   int  // octets in this line
	header bool // the blank line has not come
	blank  bool // this line is empty so far
	eight  bool

	fired map[*Cue]int64 // octets at which a Content cue was last taken
}

const maxContentLine = 998

// mostDeclared is for how much of a declared size there is room before it has come.
const mostDeclared = 1 << 20

func newBody(s *session, tx *transaction) *body {
	return &body{s: s, tx: tx, header: true, blank: true, broken: map[Rule]bool{}, fired: map[*Cue]int64{}}
}

// once records a violation the first time in a message.
func (b *body) once(r Rule, detail string) {
	if !b.broken[r] {
		b.broken[r] = true
		b.s.breach(r, detail)
	}
}

func (b *body) write(p []byte) {
	if !b.s.host.Discard {
		if b.kept == nil { // as much as was declared, so that it does not grow line by line
			b.kept = make([]byte, 0, min(max(b.tx.declared, 0), mostDeclared))
		}
		b.kept = append(b.kept, p...)
	}
	for i := 0; i < len(p); {
		n := plain(p[i:])
		if n == 0 {
			b.look(p, i)
			n = 1
		} else {
			b.text(p, i, n)
		}
		i += n
		b.tail = p[i-1]
	}
	b.size += int64(len(p))
}

// plain is how many octets at the start of p are printable ASCII.
func plain(p []byte) int {
	for i, c := range p {
		if c < ' ' || c >= 0x7f {
			return i
		}
	}
	return len(p)
}

// text judges n octets of plain text from the ith of p on.
func (b *body) text(p []byte, i, n int) {
	if b.tail == '\r' && !b.tx.binary {
		b.once(RuleContentLineEnd, around(p, i))
	}
	b.blank = false
	if b.line += n; b.line > maxContentLine && !b.tx.binary {
		b.once(RuleContentLine, fmt.Sprintf("line of more than %d octets", maxContentLine))
	}
}

// look judges one octet, the ith of p, that is not plain text.
func (b *body) look(p []byte, i int) {
	c := p[i]
	if (b.tail == '\r') != (c == '\n') && !b.tx.binary {
		b.once(RuleContentLineEnd, around(p, i))
	}
	switch {
	case c == '\n' && b.tail == '\r':
		if b.blank {
			b.header = false
		}
		b.line, b.blank = 0, true
		return
	case c == '\r':
		return
	case c == 0 && !b.tx.binary:
		b.once(RuleContentNUL, around(p, i))
	case c >= 0x80:
		b.eight = true
		if !b.tx.eightBit {
			b.once(RuleEightBit, around(p, i))
		}
		if b.header && !b.tx.utf8 {
			b.once(RuleUTF8Header, around(p, i))
		}
	}
	b.text(p, i, 1)
}

// around quotes the neighbourhood of an octet.
func around(p []byte, i int) string {
	return string(p[max(0, i-20):min(len(p), i+20)])
}

// end is the end of the content.
func (b *body) end() {
	if b.tail == '\r' && !b.tx.binary {
		b.once(RuleContentLineEnd, "CR at the end")
	}
}

// judge looks at the whole.
func (b *body) judge() {
	if b.tx.declared >= 0 && b.size > b.tx.declared {
		b.s.breach(RuleSizeExceeded, fmt.Sprintf("SIZE=%d, %d octets came", b.tx.declared, b.size))
	}
	if b.tx.utf8 && !b.tx.nonASCII && !b.eight {
		b.s.breach(RuleUTF8Needless, "MAIL FROM:<"+b.tx.from+"> SMTPUTF8")
	}
}

// arrive takes the Content cues that are due.
func (s *session) arrive(b *body) error {
	for i := range s.host.Script {
		c := &s.host.Script[i]
		if c.At != Content || !s.meant(c) || c.Nth != 0 && c.Nth != s.begun {
			continue
		}
		last, done := b.fired[c]
		switch {
		case c.Every > 0 && b.size-last < int64(c.Every):
			continue
		case c.Every == 0 && (done || b.size < int64(c.After)):
			continue
		}
		if !s.use(i) {
			continue
		}
		b.fired[c] = b.size
		text, err := s.perform(c, Content, "")
		if err != nil {
			return err
		}
		if text != "" {
			// An unexpected reply is sent at once, and makes the count inexact.
			s.lost = true
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}
