package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// Version is the version of the format this package writes, and the newest it
// reads.
const Version = 1

// HeaderSize is the number of bytes before the first frame.
const HeaderSize = 1024

const (
	magic      = "nexthop\x00"
	headerLen  = 36
	headerCopy = 512 // the second copy is in a separate sector
)

// ErrNewer says that a file was written by a newer version of the format.
var ErrNewer = errors.New("written in a newer format")

// ErrDamaged says that stored bytes differ from what was written.
var ErrDamaged = errors.New("damaged")

// FileKind says what a file holds.
type FileKind uint16

// The kinds of file.
const (
	SegmentFile FileKind = iota + 1
	CheckpointFile
	ContentFile
	KeysFile
	SuspendedFile
	OutcomesFile
)

// FileHeader is the beginning of every file.
type FileHeader struct {
	Kind   FileKind
	Number uint64 // of the segment, checkpoint, message or keys
	Salt   uint64 // random, seeds the sums of the file's frames
}

// Append appends the header, HeaderSize bytes.
func (h FileHeader) Append(b []byte) []byte {
	one := make([]byte, 0, headerLen)
	one = append(one, magic...)
	one = binary.LittleEndian.AppendUint16(one, Version)
	one = binary.LittleEndian.AppendUint16(one, uint16(h.Kind))
	one = binary.LittleEndian.AppendUint32(one, 0)
	one = binary.LittleEndian.AppendUint64(one, h.Number)
	one = binary.LittleEndian.AppendUint64(one, h.Salt)
	one = binary.LittleEndian.AppendUint32(one, Sum(one))
	start := len(b)
	b = append(b, make([]byte, HeaderSize)...)
	copy(b[start:], one)
	copy(b[start+headerCopy:], one)
	return b
}

// ReadHeader reads the header of a file of the given kind. It fails with
// ErrNewer or ErrDamaged, or as r does.
func ReadHeader(r io.ReaderAt, kind FileKind) (FileHeader, error) {
	h, err := readHeader(r, 0)
	if errors.Is(err, ErrDamaged) {
		h, err = readHeader(r, headerCopy)
	}
	if err == nil && h.Kind != kind {
		err = fmt.Errorf("header of another kind of file: %w", ErrDamaged)
	}
	return h, err
}

func readHeader(r io.ReaderAt, off int64) (FileHeader, error) {
	b := make([]byte, headerLen)
	n, err := r.ReadAt(b, off)
	switch {
	case n == len(b), errors.Is(err, io.EOF):
	case vfs.IsUnreadable(err):
		return FileHeader{}, fmt.Errorf("file header: %w: %w", ErrDamaged, err)
	default:
		return FileHeader{}, err
	}
	return parseHeader(b) // with zeros for missing bytes
}

func parseHeader(b []byte) (FileHeader, error) {
	if string(b[:len(magic)]) != magic || Sum(b[:headerLen-4]) != binary.LittleEndian.Uint32(b[headerLen-4:]) {
		return FileHeader{}, fmt.Errorf("file header: %w", ErrDamaged)
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v > Version {
		return FileHeader{}, fmt.Errorf("format %d, this program knows up to %d: %w", v, Version, ErrNewer)
	}
	return FileHeader{
		Kind:   FileKind(binary.LittleEndian.Uint16(b[10:])),
		Number: binary.LittleEndian.Uint64(b[16:]),
		Salt:   binary.LittleEndian.Uint64(b[24:]),
	}, nil
}

// Sum is the CRC-32C of b.
func Sum(b []byte) uint32 { return AddSum(0, b) }

// AddSum is the sum of what sum covers with b behind it.
func AddSum(sum uint32, b []byte) uint32 {
	return crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), b)
}

// addWord is AddSum of the eight bytes of v. It handles them one by one, because a
// slice passed to package crc32 is allocated.
func addWord(sum uint32, v uint64) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum = ^sum
	for range 8 {
		sum = table[byte(sum)^byte(v)] ^ sum>>8
		v >>= 8
	}
	return ^sum
}
