package smtpd

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"syscall"
	"time"
)

// Time limits for content: one for a block, the other for the whole content, to which a
// second is added for each 256 octets.
const (
	blockTime = 3 * time.Minute
	grace     = 10 * time.Minute
	leastRate = 256
)

func (s *session) data(ctx context.Context, argument string) {
	switch {
	case argument != "":
		s.refuse(501, "5.5.4", "no argument is allowed")
		return
	case s.tx == nil || s.body != nil:
		s.refuse(503, "5.5.1", "MAIL and RCPT first")
		return
	case len(s.tx.Recipients) == 0:
		s.refuse(554, "5.5.1", "no valid recipients")
		return
	}
	s.say(354, "", "end with a line of a single dot")
	s.wire.inContent(true)
	defer s.wire.inContent(false)
	s.open()
	if err := s.readLines(); err != nil {
		s.lost(err)
		return
	}
	s.take(ctx)
}

// open begins content with our Received field.
func (s *session) open() {
	header := s.tx.received(s.server.Name, time.Now())
	s.body = newSpool(s.server.TempDir, s.holder, header, s.server.maxSize())
}

// lost ends a session whose client went away or is too slow.
func (s *session) lost(err error) {
	s.farewell(err)
	s.over = true
}

// readLines reads content up to the line of a single dot, and takes the dots away
// that the client has added (RFC 5321 section 4.5.2). Nearly all lines are kept as they
// are: it takes those that arrived together as one.
func (s *session) readLines() error {
	began, lineStart := time.Now(), true
	for {
		buffered := s.wire.buffered()
		if lineStart && s.body.err == nil { // what is refused is not looked at for more of it
			n := plainLines(buffered)
			s.body.write(buffered[:n])
			s.wire.r += n
			buffered = buffered[n:]
		}
		i := bytes.IndexByte(buffered, '\n')
		if i < 0 {
			if len(buffered) == inBuffer { // a long line: all but what may be half of its end
				s.part(buffered[:inBuffer-1], lineStart)
				s.wire.r += inBuffer - 1
				lineStart = false
			}
			if err := s.wire.fill(blockTime); err != nil {
				return err
			}
			if tooSlow(began, s.body.size) {
				return errTooSlow
			}
			continue
		}
		l := buffered[:i+1]
		s.wire.r += i + 1
		if lineStart && s.isEnd(l) {
			return nil
		}
		s.part(l, lineStart)
		lineStart = true
	}
}

// plainLines returns the length of the whole lines that b begins with, up to the first
// that begins with a dot or does not end well.
func plainLines(b []byte) int {
	n, lines := 0, 0
	for n < len(b) && b[n] != '.' {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 1 || b[n+i-1] != '\r' {
			break
		}
		n += i + 1
		lines++
	}
	return wellEnded(b[:n], lines)
}

// wellEnded returns the length of the lines that b begins with, up to the first that has a
// CR other than that of its end. b has so many lines, which all end in CRLF.
func wellEnded(b []byte, lines int) int {
	if bytes.Count(b, []byte{'\r'}) == lines {
		return len(b)
	}
	n := 0
	for i := bytes.IndexByte(b, '\n'); endsWell(b[n : n+i+1]); i = bytes.IndexByte(b[n:], '\n') {
		n += i + 1
	}
	return n
}

// isEnd reports whether a line is the end of the content: exactly a dot and CRLF. A dot
// with LF only also ends it, but then the content is refused and the session is over:
// the sender may take that for the end and wait, but it must not be accepted.
func (s *session) isEnd(l []byte) bool {
	if string(l) == ".\n" {
		s.body.fail(errBareEnd)
		return true
	}
	return string(l) == ".\r\n"
}

// part takes a line, or a part of one that is too long for the buffer.
func (s *session) part(l []byte, lineStart bool) {
	if !endsWell(l) {
		s.body.fail(errBareEnd)
	}
	if lineStart && l[0] == '.' {
		l = l[1:]
	}
	s.body.write(l)
}

// endsWell reports whether a line, or a part of one, ends in CRLF or has no CR or LF at
// its end. It can only have an LF at its end.
func endsWell(l []byte) bool {
	cr, last := bytes.IndexByte(l, '\r'), len(l)-1
	if l[last] != '\n' {
		return cr < 0
	}
	return last > 0 && cr == last-1
}

func tooSlow(began time.Time, size int64) bool {
	return time.Since(began) > grace+time.Duration(size/leastRate)*time.Second
}

// take hands a whole message over, and answers the client.
func (s *session) take(ctx context.Context) {
	r := s.contentReply()
	if !r.Failed() {
		r = s.server.Data(ctx, s.tx, s.body.content())
	}
	s.wire.reply(r)
	if !r.Failed() {
		s.mistakes, s.rejected, s.idle, s.since = 0, 0, 0, time.Now()
	}
	s.reset()
}

// contentReply returns why content is refused before Server.Data is called.
func (s *session) contentReply() Reply {
	switch err := s.body.err; {
	case err == nil:
		return Reply{}
	case errors.Is(err, errBareEnd):
		s.over = true
		return Reply{554, "5.6.0", "the content has a bare CR or LF"}
	case errors.Is(err, errTooLarge):
		return Reply{552, "5.3.4", "a message has at most " + strconv.FormatInt(s.server.maxSize(), 10) + " octets here"}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return Reply{452, "4.3.1", "no room"}
	default:
		return Reply{451, "4.3.0", "the content could not be kept"}
	}
}
