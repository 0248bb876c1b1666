package content

import (
	"bytes"
	"io"
	"sync"
)

// Source is what content is read from; queue.Content is one. Size is the number
// of octets, or -1; Open starts at the first octet each time.
type Source interface {
	Size() int64
	Open() (io.ReadCloser, error)
}

// inMemory is a Source whose octets need no reading.
type inMemory interface{ Bytes() []byte }

// Policy says what is done with octets that are not canonical mail.
type Policy uint8

const (
	// Origin is for mail that starts here: a bare CR or LF becomes CRLF; NUL and
	// lines over 998 octets are refused (RFC 5322 section 2.1.1).
	Origin Policy = iota
	// Relay is for mail from elsewhere, which is passed on as it is or not at
	// all (RFC 5321 section 3.6.3): a bare CR or LF is refused, because no server
	// may be sent one (section 2.3.8).
	Relay
)

// maxLine is the longest line an originator may send, without its CRLF.
const maxLine = 998

// Facts are what a server must know or be able to do for the content.
type Facts struct {
	// Octets is their number in canonical form: CRLF line ends, the last
	// line ended, no dot stuffing, no final dot (RFC 1870 section 5).
	Octets int64
	// EightBit is whether any octet is 0x80 or above (RFC 6152).
	EightBit bool
	// UTF8Header is whether such an octet is in a header, of the message or of
	// a part of it (RFC 6531 section 3.5).
	UTF8Header bool
}

// Body is content ready to be sent. It is read any number of times, one reader
// after the other or several at once.
type Body struct {
	Facts
	data   []byte        // the canonical octets, where they are in memory
	pooled *bytes.Buffer // what data lies in, to be given back
	source Source        // where they are not
	read   int64         // octets of the source
}

// maxInMemory is how long a stream may be to be read once, into memory; a
// longer one is read twice, to be known and to be sent.
const maxInMemory = 1 << 20

// Prepare finds out what s is and makes it canonical as the policy says. The
// error is an *Error. Octets already in memory and canonical are not copied:
// nobody may change them while the Body is in use. Release gives back what a
// Body holds.
func Prepare(s Source, p Policy) (Body, error) {
	if m, ok := s.(inMemory); ok {
		if data := m.Bytes(); data != nil || s.Size() == 0 {
			return fromBytes(data, p)
		}
	}
	return fromStream(s, p)
}

// Size is the exact number of octets in canonical form.
func (b *Body) Size() int64 { return b.Octets }

// Bytes is the canonical octets, where they are in memory; else nil.
func (b *Body) Bytes() []byte { return b.data }

// Streams reports whether the octets are not in memory and Open must be used.
func (b *Body) Streams() bool { return b.source != nil }

// Open reads the canonical octets. A reader that would yield anything but Size
// octets fails with an *Error before the last of them.
func (b *Body) Open() (io.ReadCloser, error) {
	if b.source == nil {
		return io.NopCloser(bytes.NewReader(b.data)), nil
	}
	r, err := b.source.Open()
	if err != nil {
		return nil, unreadable(err)
	}
	return &canonicalReader{from: r, left: b.Octets}, nil
}

// Release gives the memory of a Body back; it must not be used afterwards.
func (b *Body) Release() {
	if b.pooled != nil {
		giveBack(b.pooled)
	}
	*b = Body{}
}

func fromBytes(data []byte, p Policy) (Body, error) {
	var sc scanner
	sc.add(data)
	sc.end()
	if err := sc.check(p); err != nil {
		return Body{}, err
	}
	b := Body{Facts: sc.facts()}
	if sc.eightBit {
		b.UTF8Header = headersHaveUTF8(data)
	}
	if sc.canonical() {
		b.data = data
		return b, nil
	}
	b.pooled = borrow()
	b.pooled.Grow(int(b.Octets))
	b.data = appendCanonical(b.pooled.AvailableBuffer(), data)
	return b, nil
}

func fromStream(s Source, p Policy) (Body, error) {
	r, err := s.Open()
	if err != nil {
		return Body{}, unreadable(err)
	}
	defer r.Close()
	raw := borrow()
	n, err := io.Copy(raw, io.LimitReader(r, maxInMemory+1))
	if err != nil {
		giveBack(raw)
		return Body{}, unreadable(err)
	}
	if n <= maxInMemory {
		return fromBuffer(raw, s.Size(), p)
	}
	defer giveBack(raw)
	return fromLong(s, io.MultiReader(bytes.NewReader(raw.Bytes()), r), p)
}

// fromBuffer makes a Body of a stream that fitted into memory.
func fromBuffer(raw *bytes.Buffer, announced int64, p Policy) (Body, error) {
	if announced >= 0 && int64(raw.Len()) != announced {
		giveBack(raw)
		return Body{}, errLength
	}
	b, err := fromBytes(raw.Bytes(), p)
	if err != nil || b.pooled != nil {
		giveBack(raw) // its octets were copied, or are not needed
		return b, err
	}
	b.pooled = raw
	return b, nil
}

// fromLong reads a long stream through once.
func fromLong(s Source, r io.Reader, p Policy) (Body, error) {
	var sc scanner
	var headers headerScanner
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		sc.add(buf[:n])
		headers.add(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return Body{}, unreadable(err)
		}
	}
	sc.end()
	headers.end()
	if announced := s.Size(); announced >= 0 && announced != sc.octets {
		return Body{}, errLength
	}
	if err := sc.check(p); err != nil {
		return Body{}, err
	}
	b := Body{Facts: sc.facts(), source: s, read: sc.octets}
	b.UTF8Header = headers.found
	return b, nil
}

// buffers are for content that cannot stay where it is. A sync.Pool holds no
// state that anybody could see.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func borrow() *bytes.Buffer { return buffers.Get().(*bytes.Buffer) }

func giveBack(b *bytes.Buffer) {
	b.Reset()
	buffers.Put(b)
}
