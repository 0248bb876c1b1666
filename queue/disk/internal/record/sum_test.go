package record_test

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestFrameSums computes the sums of a frame as the description of the format
// has them.
func TestFrameSums(t *testing.T) {
	const salt, off = 0x0123456789abcdef, 0xfedc_ba98
	table := crc32.MakeTable(crc32.Castagnoli)
	head, body := []byte("the head"), []byte("the body")
	f := record.Frame{Kind: record.KindMessage, Flags: record.First, Mark: 7, Head: head, Body: body, BodySum: record.Sum(body)}
	b := f.Append([]byte("before"), salt, off)[len("before"):]

	place := binary.LittleEndian.AppendUint64(nil, salt)
	place = binary.LittleEndian.AppendUint64(place, off)
	place = append(place, b[:24]...)
	for _, c := range []struct {
		name string
		at   int
		of   []byte
	}{{"head", 8, head}, {"body", 12, body}, {"place", 24, place}} {
		if got, want := binary.LittleEndian.Uint32(b[c.at:]), crc32.Checksum(c.of, table); got != want {
			t.Errorf("the sum of the %s is %08x, want %08x", c.name, got, want)
		}
	}
}
