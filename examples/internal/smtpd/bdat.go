package smtpd

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"time"
)

// bdat takes one chunk (RFC 3030 section 2).
func (s *session) bdat(ctx context.Context, argument string) {
	number, rest, _ := strings.Cut(argument, " ")
	size, err := strconv.ParseInt(number, 10, 62)
	last := strings.EqualFold(strings.TrimSpace(rest), "LAST")
	if err != nil || size < 0 || rest != "" && !last {
		// The end of the chunk is unknown, and so is the place where commands continue.
		s.refuse(501, "5.5.4", "a size and perhaps LAST are required")
		s.over = true
		return
	}
	s.wire.inContent(true)
	defer s.wire.inContent(false)
	wanted := s.tx != nil && len(s.tx.Recipients) > 0
	if wanted && s.body == nil {
		s.open()
	}
	if err := s.readChunk(size, wanted); err != nil {
		s.lost(err)
		return
	}
	switch {
	case !wanted:
		s.refuse(503, "5.5.1", "MAIL and RCPT first")
	case s.body.err != nil || last:
		if last {
			s.chunkEnd()
		}
		s.take(ctx)
	default:
		s.say(250, "2.0.0", "go on")
	}
}

// readChunk reads a chunk, and discards it if it is not wanted.
func (s *session) readChunk(size int64, wanted bool) error {
	began, done := time.Now(), int64(0)
	for done < size {
		b := s.wire.buffered()
		b = b[:min(int64(len(b)), size-done)]
		if len(b) == 0 {
			if err := s.wire.fill(blockTime); err != nil {
				return err
			}
			if tooSlow(began, done) {
				return errTooSlow
			}
			continue
		}
		if wanted {
			s.chunkPart(b)
		}
		s.wire.r += len(b)
		done += int64(len(b))
	}
	return nil
}

// chunkPart takes a part of a chunk, which may begin and end anywhere, between CR
// and LF, too.
func (s *session) chunkPart(b []byte) {
	if s.halfEnd && b[0] != '\n' {
		s.body.fail(errBareEnd)
	}
	rest := b
	if s.halfEnd {
		rest = b[1:]
	}
	s.halfEnd = len(rest) > 0 && rest[len(rest)-1] == '\r'
	if s.halfEnd {
		rest = rest[:len(rest)-1]
	}
	for len(rest) > 0 {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			i = len(rest) - 1
		}
		if !endsWell(rest[:i+1]) {
			s.body.fail(errBareEnd)
			break
		}
		rest = rest[i+1:]
	}
	s.body.write(b)
}

// chunkEnd is the end of content that came in chunks: it must be one of a line.
func (s *session) chunkEnd() {
	if s.halfEnd {
		s.body.fail(errBareEnd)
	}
}
