package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// failing is a file of which a range cannot be read.
type failing struct {
	io.ReaderAt
	from, to int64
	err      error
}

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off >= f.to || off+int64(len(p)) <= f.from {
		return f.ReaderAt.ReadAt(p, off)
	}
	n, err := f.ReaderAt.ReadAt(p[:max(0, f.from-off)], off)
	if err == nil {
		err = f.err
	}
	return n, err
}

var errElse = errors.New("something else")

const both = record.First | record.Last

// frameOf is a frame of that head and body, as it stands at an offset.
func frameOf(head, body []byte, off int64) []byte {
	f := record.Frame{Kind: record.KindMessage, Flags: both, Mark: 3, Head: head, Body: body, BodySum: record.Sum(body)}
	return f.Append(nil, salt, off)
}

// TestFrameBehindAnything has a frame be the same whatever stands before it in the
// buffer, and say nothing where it fills.
func TestFrameBehindAnything(t *testing.T) {
	f := record.Frame{Kind: record.KindMessage, Flags: record.First, Head: []byte("head"), Body: []byte("body")}
	want := f.Append(nil, salt, 64)
	if len(want)%record.Align != 0 || int64(len(want)) != f.Len() {
		t.Errorf("a frame of %d bytes, want %d", len(want), f.Len())
	}
	if got := f.Append([]byte("abc"), salt, 64)[3:]; !bytes.Equal(got, want) {
		t.Errorf("behind three bytes the frame is %x, want %x", got, want)
	}
	for _, n := range []int{record.FrameSize, record.FrameSize + record.Align, 4096} {
		b := record.AppendFill(nil, salt, 8, 7, n)
		h, ok := record.ParseFrameHeader(b, salt, 8)
		if len(b) != n || !ok || h.Kind != record.KindFill || h.Mark != 7 || h.Flags != both || h.HeadLen != 0 {
			t.Errorf("a filling of %d bytes has %d: %+v, %v", n, len(b), h, ok)
		}
	}
}

// TestLongestHead has a header that speaks of a longer head than there may be. It is
// none, so that nobody makes room for four gigabytes.
func TestLongestHead(t *testing.T) {
	table := crc32.MakeTable(crc32.Castagnoli)
	for n, want := range map[uint32]bool{record.MaxHead: true, record.MaxHead + 1: false} {
		b := frameOf(nil, nil, 8)
		binary.LittleEndian.PutUint32(b, n)
		place := binary.LittleEndian.AppendUint64(nil, salt)
		place = append(binary.LittleEndian.AppendUint64(place, 8), b[:24]...)
		binary.LittleEndian.PutUint32(b[24:], crc32.Checksum(place, table))
		if _, ok := record.ParseFrameHeader(b, salt, 8); ok != want {
			t.Errorf("a head of %d bytes: %v", n, ok)
		}
	}
}

// TestReadFrame reads the head and the body of one frame, whole or not, whatever is
// read of it at first.
func TestReadFrame(t *testing.T) {
	const off = 64
	head, body := append(bytes.Repeat([]byte("head"), 29), 0, 0, 0, 0), bytes.Repeat([]byte("body"), 40)
	sound := append(make([]byte, off), frameOf(head, body, off)...)
	end := int64(len(sound))
	flip := func(at int) io.ReaderAt {
		b := bytes.Clone(sound)
		b[at] ^= 1
		return bytes.NewReader(b)
	}
	cut := func(n int64) io.ReaderAt { return bytes.NewReader(sound[:n]) }
	r := bytes.NewReader(sound)
	headAt, bodyAt := int64(off+record.FrameSize), int64(off+record.FrameSize+len(head))
	for name, c := range map[string]struct {
		r                io.ReaderAt
		headErr, bodyErr error
	}{
		"sound":                            {r, nil, nil},
		"a header with a flipped bit":      {flip(off + 16), record.ErrDamaged, nil},
		"a head with a flipped bit":        {flip(int(bodyAt) - 1), record.ErrDamaged, nil},
		"a body with a flipped bit":        {flip(int(bodyAt)), nil, record.ErrDamaged},
		"nothing":                          {cut(off), record.ErrDamaged, nil},
		"cut in the header":                {cut(headAt - 1), record.ErrDamaged, nil},
		"cut behind the header":            {cut(headAt), record.ErrDamaged, nil},
		"cut in the head":                  {cut(bodyAt - 1), record.ErrDamaged, nil},
		"cut behind the head":              {cut(bodyAt), nil, record.ErrDamaged},
		"cut in the body":                  {cut(bodyAt + int64(len(body)) - 1), nil, record.ErrDamaged},
		"cut behind the body":              {cut(bodyAt + int64(len(body))), nil, nil},
		"the header cannot be read":        {failing{r, headAt - 1, headAt, syscall.EIO}, syscall.EIO, nil},
		"the head cannot be read":          {failing{r, bodyAt - 1, bodyAt, syscall.EIO}, syscall.EIO, nil},
		"the body cannot be read":          {failing{r, bodyAt, bodyAt + 1, syscall.EIO}, nil, syscall.EIO},
		"what follows the frame cannot be": {failing{r, end, end + 4096, syscall.EIO}, nil, nil},
	} {
		for _, hint := range []int{0, record.FrameSize + len(head), int(end) - off, 4096} {
			h, gotHead, _, err := record.ReadHead(c.r, salt, off, hint)
			if !errors.Is(err, c.headErr) {
				t.Errorf("%s, hint %d: the head: %v, want %v", name, hint, err, c.headErr)
			}
			if err != nil {
				continue
			}
			if !bytes.Equal(gotHead, head) || cap(gotHead) != len(gotHead) {
				t.Errorf("%s, hint %d: the head is %q", name, hint, gotHead)
			}
			for _, room := range [][]byte{nil, make([]byte, len(body)-1), make([]byte, len(body)), make([]byte, 2*len(body))} {
				got, err := record.ReadBody(c.r, off, h, room)
				if !errors.Is(err, c.bodyErr) || err == nil && !bytes.Equal(got, body) {
					t.Errorf("%s: the body is %q, %v, want %v", name, got, err, c.bodyErr)
				}
				if err == nil && len(room) >= len(body) && &got[0] != &room[0] {
					t.Error("room for the body is not used")
				}
			}
		}
	}
	if _, _, rest, _ := record.ReadHead(r, salt, off, 4096); !bytes.HasPrefix(rest, body) {
		t.Errorf("behind the head %q was read, want the body", rest)
	}
}

// TestGaps has what is no frame be told from what is one, to the byte, and what
// cannot be read from what is wrong.
func TestGaps(t *testing.T) {
	// A small frame that ends with a sector, one with a long body, one with a long head, a small one.
	texts := [][2]int{{100, 376}, {100, 600 << 10}, {600 << 10, 10}, {100, 5000}}
	b := record.FileHeader{Kind: record.SegmentFile, Salt: salt}.Append(nil)
	var at []int64
	var heads [][]byte
	for i, n := range texts {
		head := []byte(strings.Repeat(string(rune('a'+i)), n[0]))
		at, heads = append(at, int64(len(b))), append(heads, head)
		b = append(b, frameOf(head, bytes.Repeat([]byte{byte('A' + i)}, n[1]), int64(len(b)))...)
	}
	size := int64(len(b))
	at = append(at, size)
	gap := func(i int, err error) record.Gap { return record.Gap{From: at[i], To: at[i+1], Err: err} }
	flip := func(offsets ...int64) io.ReaderAt {
		hurt := bytes.Clone(b)
		for _, off := range offsets {
			hurt[off] ^= 1
		}
		return bytes.NewReader(hurt)
	}
	r := bytes.NewReader(b)
	bad := func(r io.ReaderAt, from, to int64) io.ReaderAt { return failing{r, from, to, syscall.EIO} }
	for name, c := range map[string]struct {
		r    io.ReaderAt
		size int64
		want string // the frames
		gaps []record.Gap
		err  error
	}{
		"sound":                                 {r, size, "0123", nil, nil},
		"a header":                              {flip(at[0]), size, "123", []record.Gap{gap(0, nil)}, nil},
		"the header of one with a long body":    {flip(at[1]), size, "023", []record.Gap{gap(1, nil)}, nil},
		"the end of a long body":                {flip(at[2] - 8), size, "023", []record.Gap{gap(1, nil)}, nil},
		"the end of a long head":                {flip(at[2] + record.FrameSize + 600<<10 - 1), size, "013", []record.Gap{gap(2, nil)}, nil},
		"two beside each other":                 {flip(at[0], at[1]), size, "23", []record.Gap{{From: at[0], To: at[2]}}, nil},
		"two apart":                             {flip(at[0], at[2]), size, "13", []record.Gap{gap(0, nil), gap(2, nil)}, nil},
		"the last":                              {flip(at[3] + record.FrameSize), size, "012", []record.Gap{gap(3, nil)}, nil},
		"cut behind the last body":              {r, size - 1, "012", []record.Gap{{From: at[3], To: size - 1}}, nil},
		"cut in the last header":                {bytes.NewReader(b[:at[3]+20]), at[3] + 20, "012", []record.Gap{{From: at[3], To: at[3] + 20}}, nil},
		"shorter than it was":                   {bytes.NewReader(b[:size-64]), size, "012", []record.Gap{gap(3, nil)}, nil},
		"a sector that cannot be read":          {bad(r, at[1]+4096, at[1]+4608), size, "023", []record.Gap{gap(1, syscall.EIO)}, nil},
		"the last sectors":                      {bad(r, size-100, size), size, "012", []record.Gap{gap(3, syscall.EIO)}, nil},
		"a header that cannot be read":          {bad(r, at[0]+8, at[0]+16), size, "123", []record.Gap{gap(0, syscall.EIO)}, nil},
		"damage before a sector that cannot be": {bad(flip(at[1]), at[3]+2000, at[3]+2001), size, "02", []record.Gap{gap(1, nil), gap(3, syscall.EIO)}, nil},
		"damage behind a sector that cannot be": {bad(flip(at[3]), at[1]+2000, at[1]+2001), size, "02", []record.Gap{gap(1, syscall.EIO), gap(3, nil)}, nil},
		"damage, and a bad sector behind it":    {bad(flip(at[0]), at[1]+4096, at[1]+4097), size, "23", []record.Gap{{From: at[0], To: at[2], Err: syscall.EIO}}, nil},
		"damage, and a bad sector further on":   {bad(flip(at[1]+record.FrameSize), at[2]+8192, at[2]+8193), size, "03", []record.Gap{{From: at[1], To: at[3], Err: syscall.EIO}}, nil},
		"a bad filling, and damage behind it":   {bad(flip(at[1]), at[1]-4, at[1]), size, "023", []record.Gap{gap(1, nil)}, nil},
		"a read that fails at once":             {failing{r, at[0], size, errElse}, size, "", nil, errElse},
		"a read that fails in the middle":       {failing{r, at[1], size, errElse}, size, "", nil, errElse},
		"a read that fails in a body":           {failing{r, at[1] + 500<<10, at[1] + 501<<10, errElse}, size, "0", nil, errElse},
		"a read that fails beside a bad sector": {failing{bad(r, at[0]+60, at[0]+61), at[0] + 1024, size, errElse}, size, "", nil, errElse},
	} {
		s := record.NewScanner(c.r, c.size, salt, record.HeaderSize)
		got := ""
		for s.Next() {
			i := 0
			for at[i] != s.Offset() {
				i++
			}
			got += string(rune('0' + i))
			f := s.Frame()
			if s.End() != at[i+1] || !bytes.Equal(f.Head, heads[i]) || f.Mark != 3 || f.Flags != both || f.Kind != record.KindMessage || f.Body != nil {
				t.Errorf("%s: frame %d is from %d to %d, with a head of %d bytes", name, i, s.Offset(), s.End(), len(f.Head))
			}
		}
		if got != c.want || !reflect.DeepEqual(s.Gaps(), c.gaps) || !errors.Is(s.Err(), c.err) || c.err == nil && s.Err() != nil {
			t.Errorf("%s: frames %q, gaps %v, %v, want %q, %v, %v", name, got, s.Gaps(), s.Err(), c.want, c.gaps, c.err)
		}
	}
}

// TestGapsOfOneRead has small frames of which one is damaged and two cannot be read:
// with those goes what is behind them in their sectors, and nothing else.
func TestGapsOfOneRead(t *testing.T) {
	const each = 64
	b := record.FileHeader{Kind: record.SegmentFile, Salt: salt}.Append(nil)
	for range 49 {
		b = append(b, frameOf(bytes.Repeat([]byte("x"), each-record.FrameSize), nil, int64(len(b)))...)
	}
	b[2000] ^= 1
	r := failing{failing{bytes.NewReader(b), 1400, 1401, syscall.EIO}, 2248, 2249, syscall.EIO}
	const from = record.HeaderSize + each // in the middle of a sector
	s := record.NewScanner(r, int64(len(b)), salt, from)
	want := []record.Gap{{From: 1344, To: 1536, Err: syscall.EIO}, {From: 1984, To: 2048}, {From: 2240, To: 2560, Err: syscall.EIO}}
	for off := int64(from); off < int64(len(b)); off += each {
		for _, g := range want {
			if off == g.From {
				off = g.To
			}
		}
		if !s.Next() || s.Offset() != off {
			t.Fatalf("the next frame is at %d, want %d", s.Offset(), off)
		}
	}
	if s.Next() || !reflect.DeepEqual(s.Gaps(), want) {
		t.Errorf("gaps %v, want %v", s.Gaps(), want)
	}
}

// TestLongGroups has the heads of a group that are longer than what is read at a time.
func TestLongGroups(t *testing.T) {
	b := record.FileHeader{Kind: record.SegmentFile, Salt: salt}.Append(nil)
	var want [][]byte
	for i, flags := range []record.Flags{record.First, 0, record.Last} {
		f := record.Frame{Kind: record.KindDelivery, Flags: flags, Head: bytes.Repeat([]byte{byte('a' + i)}, 300<<10)}
		want, b = append(want, f.Head), f.Append(b, salt, int64(len(b)))
	}
	groups := record.NewGroups(bytes.NewReader(b), int64(len(b)), salt, record.HeaderSize)
	if !groups.Next() || !groups.Whole() || len(groups.Frames()) != len(want) {
		t.Fatal("the group is not whole")
	}
	for i, f := range groups.Frames() {
		if !bytes.Equal(f.Head, want[i]) {
			t.Errorf("the head of frame %d is not what was written", i)
		}
	}
	if groups.Next() {
		t.Error("there is another group")
	}
}
