package record

import (
	"encoding/binary"
	"fmt"
	"io"
)

// FrameSize is the length of a frame's own header. Frames begin at multiples
// of Align.
const (
	FrameSize = 32
	Align     = 8
)

// MaxHead is the longest head a frame may have.
const MaxHead = 64 << 20

// Kind says what a frame's head holds.
type Kind uint8

// The kinds of record.
const (
	KindMessage     Kind = iota + 1 // an envelope; the body is the content
	KindDelivery                    // the state of one delivery, replacing earlier ones
	KindGone                        // the end of one delivery
	KindDestination                 // the state of one destination, replacing earlier ones
	KindSegments                    // the segments in use; first in every segment
	KindRetired                     // a segment that is no longer in use
	KindBlock                       // a piece of a content file
	KindTable                       // a piece of a checkpoint
	KindFlush                       // deliveries made due at once
	KindSaved                       // only its mark counts; without a head
	KindFill                        // padding between two other records
	KindKeys                        // a piece of a file of keys whose messages have left
	KindSuspension                  // something that is suspended
	KindOutcomes                    // how mail to some recipients ended
	KindBefore                      // the place of the outcome before a file of them
)

// Flags place a frame in its group.
type Flags uint8

// A frame on its own carries both.
const (
	First Flags = 1 << iota
	Last
)

// Frame is one record.
type Frame struct {
	Kind  Kind
	Flags Flags
	// Mark is how much of this file was known to be synced when the frame was written.
	Mark    uint32
	Head    []byte
	Body    []byte
	BodySum uint32 // the sum of Body
}

// Len is the length of the frame in the file, filling included.
func (f *Frame) Len() int64 { return frameLen(len(f.Head), len(f.Body)) }

func frameLen(head, body int) int64 {
	return (FrameSize + int64(head) + int64(body) + Align - 1) &^ (Align - 1)
}

// Append appends the frame as it stands at offset off of the file with the
// given salt. BodySum must have been set.
func (f *Frame) Append(b []byte, salt uint64, off int64) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Head)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Body)))
	b = binary.LittleEndian.AppendUint32(b, Sum(f.Head))
	b = binary.LittleEndian.AppendUint32(b, f.BodySum)
	b = append(b, byte(f.Kind), byte(f.Flags), 0, 0)
	b = binary.LittleEndian.AppendUint32(b, f.Mark)
	b = binary.LittleEndian.AppendUint32(b, placeSum(b[start:], salt, off))
	b = append(b, 0, 0, 0, 0)
	b = append(b, f.Head...)
	b = append(b, f.Body...)
	for int64(len(b)-start)%Align != 0 {
		b = append(b, 0)
	}
	return b
}

// AppendFill appends a padding frame of n bytes for offset off of the file with the
// given salt. n is at least FrameSize and a multiple of Align.
func AppendFill(b []byte, salt uint64, off int64, mark uint32, n int) []byte {
	body := make([]byte, n-FrameSize)
	f := Frame{Kind: KindFill, Flags: First | Last, Mark: mark, Body: body, BodySum: Sum(body)}
	return f.Append(b, salt, off)
}

// placeSum is the sum of a frame's header at its place.
func placeSum(header []byte, salt uint64, off int64) uint32 {
	return AddSum(addWord(addWord(0, salt), uint64(off)), header[:24])
}

// FrameHeader is a frame without its bytes.
type FrameHeader struct {
	Kind             Kind
	Flags            Flags
	Mark             uint32
	HeadLen, BodyLen int
	HeadSum, BodySum uint32
}

// Len is the length of the frame in the file, filling included.
func (h *FrameHeader) Len() int64 { return frameLen(h.HeadLen, h.BodyLen) }

// ParseFrameHeader parses the header at the beginning of b, which is at offset off of
// the file with the given salt. It returns false if there is none.
func ParseFrameHeader(b []byte, salt uint64, off int64) (FrameHeader, bool) {
	if len(b) < FrameSize || placeSum(b, salt, off) != binary.LittleEndian.Uint32(b[24:]) {
		return FrameHeader{}, false
	}
	h := FrameHeader{
		HeadLen: int(binary.LittleEndian.Uint32(b)),
		BodyLen: int(binary.LittleEndian.Uint32(b[4:])),
		HeadSum: binary.LittleEndian.Uint32(b[8:]),
		BodySum: binary.LittleEndian.Uint32(b[12:]),
		Kind:    Kind(b[16]),
		Flags:   Flags(b[17]),
		Mark:    binary.LittleEndian.Uint32(b[20:]),
	}
	return h, h.HeadLen <= MaxHead
}

// ReadHead reads the head of the frame at off, without its body. The hint is
// how many bytes to read at first; bytes that follow the head within it are
// returned as rest. It fails with ErrDamaged, or as r does.
func ReadHead(r io.ReaderAt, salt uint64, off int64, hint int) (h FrameHeader, head, rest []byte, err error) {
	return ReadHeadInto(make([]byte, max(hint, FrameSize)), r, salt, off)
}

// ReadHeadInto is ReadHead with a buffer to read into, at least FrameSize bytes
// long, whose length is the hint.
func ReadHeadInto(buf []byte, r io.ReaderAt, salt uint64, off int64) (h FrameHeader, head, rest []byte, err error) {
	b, failed := readUpTo(r, off, buf)
	h, ok := ParseFrameHeader(b, salt, off)
	if !ok {
		return h, nil, nil, noFrame(off, failed)
	}
	end := FrameSize + h.HeadLen
	if len(b) < end {
		b, failed = readUpTo(r, off, make([]byte, end))
	}
	if len(b) < end || Sum(b[FrameSize:end]) != h.HeadSum {
		return h, nil, nil, noFrame(off, failed)
	}
	return h, b[FrameSize:end:end], b[end:], nil
}

// noFrame returns the error if there is no frame: the error of reading it, if there was
// one.
func noFrame(off int64, failed error) error {
	if failed != nil {
		return failed
	}
	return fmt.Errorf("frame at %d: %w", off, ErrDamaged)
}

// ReadBody reads the body of the frame at off into b, growing it as needed.
// It fails with ErrDamaged, or as r does.
func ReadBody(r io.ReaderAt, off int64, h FrameHeader, b []byte) ([]byte, error) {
	if cap(b) < h.BodyLen {
		b = make([]byte, h.BodyLen)
	}
	b = b[:h.BodyLen]
	n, err := r.ReadAt(b, off+FrameSize+int64(h.HeadLen))
	if n < len(b) {
		if err != io.EOF {
			return nil, err
		}
		return nil, fmt.Errorf("frame at %d ends early: %w", off, ErrDamaged)
	}
	if Sum(b) != h.BodySum {
		return nil, fmt.Errorf("body of the frame at %d: %w", off, ErrDamaged)
	}
	return b, nil
}

// readUpTo fills b from off, less at the end of the file and, with an error, where
// reading fails.
func readUpTo(r io.ReaderAt, off int64, b []byte) ([]byte, error) {
	got, err := r.ReadAt(b, off)
	if err == io.EOF {
		err = nil
	}
	return b[:got], err
}
