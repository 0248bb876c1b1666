package content

import (
	"bytes"
	"context"
	"io"
)

// Source is what content is read from; queue.Content is one. Size is the number
// of octets, or -1; Open starts at the first octet each time. One that also has
// a method Bytes() []byte is not read but taken from there, unless that is nil.
type Source interface {
	Size() int64
	Open() (io.ReadCloser, error)
}

type inMemory interface{ Bytes() []byte }

// Facts are what a server must know or be able to do for the content, and what
// a relay wants to know of it.
type Facts struct {
	// Octets is their number in canonical form, without dot stuffing and final
	// dot (RFC 1870 section 5).
	Octets int64
	// EightBit is whether any octet is 0x80 or above (RFC 6152).
	EightBit bool
	// NUL is whether any octet is zero.
	NUL bool
	// LongestLine is the length of the longest line in octets, without CRLF.
	LongestLine int
	// UTF8Header is whether an octet of 0x80 or above is in a header: of the
	// message, of a part of it or of a message it encloses, at any depth (RFC
	// 6531 section 3.5). Where parts cannot be told from text it is so for any
	// such octet.
	UTF8Header bool
	// MIME is whether the message has a MIME-Version field (RFC 2045 section 4).
	MIME bool
	// Received is the number of Received fields in the message's own header,
	// by which loops are found (RFC 5321 section 6.3).
	Received int
	// TLSOptional is whether the message's own header has the field TLS-Required: No
	// (RFC 8689 section 3). If there are several such fields, each must say so.
	TLSOptional bool
}

// Body is content ready to be sent. It is read any number of times, one reader
// after the other or several at once.
type Body struct {
	Facts
	data   []byte  // the canonical octets, where they are in memory
	buffer *buffer // what data lies in, to be given back
	source Source  // where they are not
	sum    uint32  // of the source's octets
}

// Prepare finds out what s is and makes it canonical as the policy says. Octets
// already in memory and canonical are not copied: nobody may change them while
// the Body is in use. Release gives back what a Body holds.
//
// The error is an *Error: 5.6.0 for content that may not be sent, 4.3.0 if it
// cannot be read or is not as long as it said.
func Prepare(s Source, p Policy) (Body, error) { return PrepareUntil(context.Background(), s, p) }

// PrepareUntil is Prepare that reads no more once ctx has ended.
func PrepareUntil(ctx context.Context, s Source, p Policy) (Body, error) {
	if m, ok := s.(inMemory); ok {
		if data := m.Bytes(); data != nil {
			return prepareBytes(s, data, p)
		}
	}
	return prepareStream(s, func(r io.Reader) (Body, error) { return readStream(s, until{ctx, r}, p) })
}

// until is a reader that a context ends.
type until struct {
	ctx context.Context
	in  io.Reader
}

func (u until) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.in.Read(p)
}

// Size is the exact number of octets in canonical form.
func (b *Body) Size() int64 { return b.Octets }

// Bytes returns the canonical octets if they are in memory, or else nil.
func (b *Body) Bytes() []byte { return b.data }

// Streams reports whether the octets are not in memory and Open must be used.
func (b *Body) Streams() bool { return b.source != nil }

// Open reads the canonical octets. A reader that would yield anything but the
// octets that Prepare saw fails with an *Error before the last of them.
func (b *Body) Open() (io.ReadCloser, error) {
	if b.source == nil {
		return io.NopCloser(bytes.NewReader(b.data)), nil
	}
	r, err := b.source.Open()
	if err != nil {
		return nil, unreadable(err)
	}
	return newReader(r, b.Octets, b.sum), nil
}

// Copy is the same content in memory of its own, which may be kept for long: it is little
// more than the content needs. It must not be used for a Body that streams.
func (b *Body) Copy() Body {
	c := Body{Facts: b.Facts, buffer: borrowSnug(len(b.data))}
	c.buffer.octets = append(c.buffer.octets, b.data...)
	c.data = c.buffer.octets
	return c
}

// Held is how many octets of memory a Copy holds.
func (b *Body) Held() int64 { return int64(cap(b.data)) }

// Release gives the memory of a Body back; it and its readers must not be used
// afterwards.
func (b *Body) Release() {
	b.buffer.giveBack()
	*b = Body{}
}
