package smtp

import (
	"bytes"
	"io"
	"sync"
	"unicode/utf8"
)

const readBuffer = 4096

// readBuffers are lent to readers while there is data to read, so that an idle session
// holds none.
var readBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// protocolError says what is wrong with what a server sent.
type protocolError string

func (e protocolError) Error() string { return string(e) }

// badLine is an invalid reply line, escaped and cut.
type badLine struct {
	why  protocolError
	line string
}

func (e *badLine) Error() string { return string(e.why) + ": " + e.line }
func (e *badLine) Unwrap() error { return e.why }

// shownLine is how much of a bad line its error repeats.
const shownLine = 80

func badReply(why protocolError, raw []byte) error {
	return &badLine{why, string(appendEscaped(nil, raw[:min(len(raw), shownLine)], false))}
}

const (
	errLineLong    = protocolError("reply line without an end")
	errLinesMany   = protocolError("reply of too many lines")
	errReplyBig    = protocolError("reply too big")
	errTalkative   = protocolError("too much said in one session")
	errBareLF      = protocolError("reply line that ends in a bare LF")
	errNoCode      = protocolError("no reply code")
	errCodeRange   = protocolError("reply code out of range")
	errCodesDiffer = protocolError("different codes in one reply")
	errUnsolicited = protocolError("reply without a command")
	errSenseless   = protocolError("reply that makes no sense here")

	errTooManyReplies = protocolError("more replies than commands")
)

// limits bound what a server may make the session read.
type limits struct {
	lineKept     int   // octets of a reply line that are kept
	lineRead     int   // octets of a reply line that are read before giving up
	lines        int   // lines of one reply
	replyBytes   int   // octets of one reply
	sessionBytes int64 // octets of all replies of a session
}

func usualLimits() limits {
	return limits{lineKept: 2048, lineRead: 64 << 10, lines: 128, replyBytes: 256 << 10, sessionBytes: 64 << 20}
}

const (
	// maxText is how much of a reply's text is kept, after escaping. Code that
	// remembers a reply never remembers more.
	maxText = 2048
	// maxHelloText is the same for a reply to EHLO while its keywords are read:
	// 64 of the longest lines that a server may send.
	maxHelloText = 64 * 512
	// maxBuffer is how large a buffer for text may be that is kept for the next
	// reply.
	maxBuffer = 4096
)

// reader reads replies. Between two calls of reply it keeps only octets that came
// early: no reply depends on the one before.
type reader struct {
	src     io.Reader
	limits  limits
	lenient bool // a bare LF ends a line, as it ended the first one
	begun   bool // a line was read
	trace   func(Line)

	buf   *[readBuffer]byte // nil while empty
	r, w  int
	total int64

	long []byte // a line that does not fit buf
	most int    // octets of a line that are kept
	cut  bool   // it was longer

	secrets secrets // of AUTH

	text []byte

	// The texts of the last replies: most of what a server says it says again
	// and again, and need not be copied each time.
	said [4]string
	next int
}

// kept returns b as a string, sharing one of the kept strings if it is equal.
func (r *reader) kept(b []byte) string {
	for _, s := range r.said {
		if s == string(b) {
			return s
		}
	}
	s := string(b)
	if len(s) <= mostKept {
		r.said[r.next] = s
		r.next = (r.next + 1) % len(r.said)
	}
	return s
}

// mostKept is how long a text may be to be kept.
const mostKept = 128

// buffered is how many octets were received and not read.
func (r *reader) buffered() int { return r.w - r.r }

// outOfStep reports whether more was received than the expected replies: any octets
// except those of a 421, which may come at any time (RFC 5321 section 3.8), and of a 221
// in its place.
func (r *reader) outOfStep() bool {
	n := min(r.buffered(), len("421"))
	if n == 0 {
		return false
	}
	begins := string(r.buf[r.r : r.r+n])
	return begins != "421"[:n] && begins != "221"[:n]
}

// release gives back the buffer if it is empty, and the memory of a long reply.
func (r *reader) release() {
	if cap(r.text) > maxBuffer {
		r.text = nil
	}
	if cap(r.long) > maxBuffer {
		r.long = nil
	}
	if r.buf != nil && r.r == r.w {
		readBuffers.Put(r.buf)
		r.buf, r.r, r.w = nil, 0, 0
	}
}

// poll reports whether something has been received, without waiting.
func (r *reader) poll(w *wire) (bool, error) {
	if r.buffered() > 0 {
		return true, nil
	}
	w.polling = true
	err := r.fill()
	w.polling = false
	if isTimeout(err) {
		return false, nil
	}
	return err == nil, err
}

// fill reads more. It is called when the buffer has room.
func (r *reader) fill() error {
	if r.buf == nil {
		r.buf = readBuffers.Get().(*[readBuffer]byte)
	}
	if r.r == r.w {
		r.r, r.w = 0, 0
	} else if r.w == readBuffer {
		r.w = copy(r.buf[:], r.buf[r.r:r.w])
		r.r = 0
	}
	for range 100 {
		n, err := r.src.Read(r.buf[r.w:])
		r.w += n
		r.total += int64(n)
		switch {
		case r.total > r.limits.sessionBytes:
			return errTalkative
		case n > 0:
			return nil
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

// line reads one line and returns the kept part of it, without its end. It is valid
// until the next call.
func (r *reader) line() ([]byte, error) {
	r.long, r.cut = r.long[:0], false
	read, seen := 0, 0
	for {
		if i := bytes.IndexByte(r.pending()[seen:], '\n'); i >= 0 {
			part := r.pending()[:seen+i+1]
			r.r += len(part)
			return r.finish(part)
		}
		seen = r.buffered()
		if read+seen > r.limits.lineRead {
			return nil, errLineLong
		}
		if seen == readBuffer {
			// Keep the last octet back: it may be the CR of the line's end.
			r.keep(r.pending()[:seen-1])
			r.r += seen - 1
			read += seen - 1
			seen = 1
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// pending returns what was received and not read.
func (r *reader) pending() []byte {
	if r.buf == nil {
		return nil
	}
	return r.buf[r.r:r.w]
}

func (r *reader) keep(part []byte) {
	if r.cut {
		return
	}
	if room := r.most - len(r.long); len(part) > room {
		part, r.cut = wholeRunes(part[:room]), true
	}
	r.long = append(r.long, part...)
}

// finish takes the end off the last part of a line and joins it to the others.
func (r *reader) finish(part []byte) ([]byte, error) {
	part = part[:len(part)-1]
	cr := len(part) > 0 && part[len(part)-1] == '\r'
	if !r.begun {
		// Some servers end every line like that. A server that does so only now and
		// then repeats the text of another party, which must not be able to write
		// replies.
		r.begun, r.lenient = true, !cr
	}
	switch {
	case cr:
		part = part[:len(part)-1]
	case !r.lenient:
		return nil, errBareLF
	}
	if len(r.long) == 0 {
		if len(part) > r.most {
			part = wholeRunes(part[:r.most])
		}
		return part, nil
	}
	r.keep(part)
	return r.long, nil
}

// form says how a reply is read.
type form struct {
	plain bool // no enhanced codes: greeting, EHLO, HELO (RFC 2034 section 4)
	hello bool // keywords may come, which are read before the text is cut
	utf8  bool // the text may be UTF-8 (RFC 6531 section 3.7.4.1)
	auth  bool // a challenge may come (RFC 4954 section 4)
}

// reply reads one reply. Its error is, or wraps, a protocolError or is the
// transport's.
func (r *reader) reply(f form) (Reply, error) {
	var (
		rep          Reply
		status, upto int // where the enhanced code is
	)
	r.text, r.most = r.text[:0], r.limits.lineKept
	began, most := r.total-int64(r.buffered()), maxText
	switch {
	case f.auth:
		r.most, most = maxAuthLine, maxAuthLine
	case f.hello:
		most = maxHelloText
	}
	for lines := 1; ; lines++ {
		raw, err := r.line()
		if err != nil {
			return Reply{}, err
		}
		shown := r.secrets.hide(raw)
		if !f.auth || !isChallenge(raw) {
			raw = shown
		} else {
			shown = asked(raw)
		}
		if r.trace != nil {
			r.trace(Line{Text: string(appendEscaped(nil, shown, false))})
		}
		code, last, text, bad := parseLine(raw)
		if bad == "" && lines > 1 && code != rep.Code {
			bad = errCodesDiffer
		}
		if bad != "" {
			return Reply{}, badReply(bad, shown)
		}
		if lines > 1 && len(r.text) < most {
			r.text = append(r.text, '\n')
		}
		start := len(r.text)
		r.text = appendEscaped(r.text, text, f.utf8)
		rep.Code = code
		if upto == 0 && !f.plain && code/100 != 3 {
			if n := enhancedCode(code, r.text[start:]); n > 0 && start+n <= maxText {
				status, upto = start, start+n
			}
		}
		if len(r.text) > most {
			r.text = cutText(r.text, most)
		}
		switch {
		case last:
			if f.auth && code/100 != 3 && len(r.text) > maxText {
				r.text = cutText(r.text, maxText)
			}
			rep.Text = r.kept(r.text)
			rep.Enhanced = rep.Text[status:upto]
			return rep, nil
		case lines == r.limits.lines:
			return Reply{}, errLinesMany
		case r.total-int64(r.buffered())-began > int64(r.limits.replyBytes):
			return Reply{}, errReplyBig
		}
	}
}

// cutText cuts escaped text to at most n octets, and takes no escape or character
// apart.
func cutText(text []byte, n int) []byte {
	text = text[:n]
	if i := bytes.LastIndexByte(text[max(0, n-3):], '\\'); i >= 0 {
		text = text[:max(0, n-3)+i]
	}
	return wholeRunes(text)
}

// wholeRunes is text without the beginning of a character at its end.
func wholeRunes(text []byte) []byte {
	for i := len(text) - 1; i >= max(0, len(text)-utf8.UTFMax); i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRune(text[i:]) {
				return text[:i]
			}
			break
		}
	}
	return text
}
