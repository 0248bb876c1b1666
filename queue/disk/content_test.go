package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// inPieces is a content whose size nobody knows and that is read in pieces of a length.
type inPieces struct {
	text  []byte
	piece int
}

func (c inPieces) Size() int64 { return -1 }
func (c inPieces) Open() (io.ReadCloser, error) {
	return io.NopCloser(&pieceReader{c.text, c.piece}), nil
}

type pieceReader struct {
	left  []byte
	piece int
}

func (r *pieceReader) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.piece)], r.left)
	r.left = r.left[n:]
	return n, nil
}

// TestLargeContentIsWrittenInBlocks puts contents whose lengths are near those of whole
// blocks, in one piece and in many, and before or after they turn out to be large: the
// file has blocks of the same length but for the last, and the content is read as it was.
func TestLargeContentIsWrittenInBlocks(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	text := noise(3*blockSize + 1)
	for _, large := range []int64{1000, blockSize, 2*blockSize + 10} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, Options{LargeContent: large, SegmentSize: 1 << 20})
		must(t, err)
		for _, size := range []int{int(large), blockSize - 1, blockSize, blockSize + 1, 2*blockSize - 1, 2 * blockSize, 2*blockSize + 1, 3 * blockSize, len(text)} {
			for name, content := range map[string]queue.Content{
				"bytes":      queue.Bytes(text[:size]),
				"pieces":     inPieces{text[:size], 32 << 10},
				"odd pieces": inPieces{text[:size], 1001},
			} {
				what := fmt.Sprintf("%s, %d bytes, large from %d", name, size, large)
				id, err := s.Put(ctx, now, &queue.Message{Recipients: textMessage("").Recipients, Content: content})
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if got, err := readContent(s, id); err != nil || got != string(text[:size]) {
					t.Errorf("%s: it is read as %d bytes, %v", what, len(got), err)
				}
				number, _ := parseID(id)
				file := fileName(contentPrefix, number)
				if whole, err := sizeOf(fs, file); int64(size) < large {
					if err == nil {
						t.Errorf("%s: it has a file of %d bytes", what, whole)
					}
				} else if blocks, err := blocksOf(fs, file); err != nil || blocks != (size+blockSize-1)/blockSize {
					t.Errorf("%s: it has %d blocks, %v", what, blocks, err)
				}
				must(t, s.Drop(ctx, id))
			}
		}
	}
}

// TestLargeContentThatCannotBeWritten has each change of the file system fail once while a
// large content is put: that is answered, nothing is left of it, and it can be put then.
func TestLargeContentThatCannotBeWritten(t *testing.T) {
	ctx, now, odd := context.Background(), time.Unix(1e9, 0), errors.New("odd")
	text := noise(4 * blockSize)
	for name, content := range map[string]queue.Content{
		"bytes":  queue.Bytes(text),
		"pieces": inPieces{text, 1001},
	} {
		for op := crashfs.OpWrite; op <= crashfs.OpSyncDir; op++ {
			for n, hit := 1, true; hit; n++ {
				what := fmt.Sprintf("%s, %v %d fails", name, op, n)
				fs := crashfs.New(uint64(n))
				s, err := openByHand(fs, Options{LargeContent: 2*blockSize + 10, SegmentSize: 1 << 20})
				must(t, err)
				mustPut(t, s)
				hit = false
				nth := crashfs.FailNth(op, n, false, odd)
				fs.Inject(func(o crashfs.Op, file string) error {
					if !strings.HasPrefix(file, contentPrefix) && o != crashfs.OpSyncDir {
						return nil
					}
					err := nth(o, file)
					hit = hit || err != nil
					return err
				})
				id, err := s.Put(ctx, now, &queue.Message{Recipients: textMessage("").Recipients, Content: content})
				fs.Inject(nil)
				if (id == "") != hit || errors.Is(err, odd) != hit || errors.Is(err, queue.ErrFull) || err != nil && !hit {
					t.Fatalf("%s: Put = %q, %v", what, id, err)
				}
				lost := op == crashfs.OpSync || op == crashfs.OpSyncDir
				if errors.Is(err, ErrFailed) != (hit && lost) {
					t.Errorf("%s: Put = %v", what, err)
				}
				if !hit || lost {
					continue
				}
				if files := contents(t, fs); files != "[]" {
					t.Errorf("%s: there are %s", what, files)
				}
				id, err = s.Put(ctx, now, &queue.Message{Recipients: textMessage("").Recipients, Content: content})
				must(t, err)
				if got, err := readContent(s, id); err != nil || got != string(text) {
					t.Errorf("%s: then it is read as %d bytes, %v", what, len(got), err)
				}
				must(t, s.Close())
				if open := fs.Descriptors(); open > 0 {
					t.Errorf("%s: %d files are open in the end", what, open)
				}
			}
		}
	}
}

// TestLargeContentThatDoesNotFitWhenItIsSaved has a lack of room show when a large content,
// or its name, is saved: it is refused, and the device has not failed.
func TestLargeContentThatDoesNotFitWhenItIsSaved(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, op := range []crashfs.Op{crashfs.OpSync, crashfs.OpSyncDir} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, Options{LargeContent: 1000})
		must(t, err)
		mustPut(t, s)
		fs.Inject(func(o crashfs.Op, name string) error {
			if o == op && (strings.HasPrefix(name, contentPrefix) || o == crashfs.OpSyncDir) {
				return syscall.ENOSPC
			}
			return nil
		})
		large := textMessage(strings.Repeat("x", 1000))
		if id, err := s.Put(ctx, now, large); id != "" || !errors.Is(err, queue.ErrFull) || errors.Is(err, ErrFailed) {
			t.Errorf("%v finds no room: Put = %q, %v, want ErrFull", op, id, err)
		}
		fs.Inject(nil)
		if files := contents(t, fs); files != "[]" {
			t.Errorf("%v finds no room, and there are %s", op, files)
		}
		if _, err := s.Put(ctx, now, large); err != nil {
			t.Errorf("%v has found no room, and then Put = %v", op, err)
		}
	}
}

// TestContentOfTheGreatestLength writes the last bytes that a content may have, and one
// more.
func TestContentOfTheGreatestLength(t *testing.T) {
	_, s := openSmall(t)
	for more := range 2 {
		w := &contentWriter{s: s, ctx: context.Background(), number: uint64(more + 1), size: math.MaxUint32 - 3}
		_, err := w.Write(make([]byte, 3+more))
		var refused *queue.MessageError
		if errors.As(err, &refused) != (more > 0) || err != nil && more == 0 {
			t.Errorf("%d bytes more than the greatest length: %v", more, err)
		}
		w.close()
	}
}

// TestContentInTheLog reads contents behind short envelopes and long ones, so that the
// record fits what is read at once or does not: as they were, or not at all if a byte of
// them has changed.
func TestContentInTheLog(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, envelope := range []int{0, envelopeSize, 4 * envelopeSize} {
		for _, size := range []int{0, 1, 100, 5000} {
			what := fmt.Sprintf("a content of %d bytes behind an envelope of more than %d", size, envelope)
			fs, s := openSmall(t)
			text := noise(size)
			id, err := s.Put(ctx, now, &queue.Message{Recipients: textMessage("").Recipients, Content: queue.Bytes(text),
				Metadata: map[string]string{"long": strings.Repeat("x", envelope)}})
			must(t, err)
			if got, err := readContent(s, id); err != nil || got != string(text) {
				t.Errorf("%s is read as %d bytes, %v", what, len(got), err)
			}
			if size == 0 {
				continue
			}
			number, _ := parseID(id)
			_, from := find(t, fs, number, record.KindMessage)
			h, _, _, err := record.ReadHead(s.current.file, s.current.salt, from, 0)
			must(t, err)
			fs.Flip(s.current.file.name, from+record.FrameSize+int64(h.HeadLen)+int64(size)/2, 1)
			if got, err := readContent(s, id); !errors.Is(err, queue.ErrDamaged) || got != "" {
				t.Errorf("%s, damaged, is read as %d bytes, %v", what, len(got), err)
			}
			if n := pins(s); n > 0 {
				t.Errorf("%s: %d segments are in use", what, n)
			}
		}
	}
}

// TestContentOfAMessageThatHasLeft opens contents, in the log and in files, whose messages
// have left since they were asked for, and such of a spool that is closed.
func TestContentOfAMessageThatHasLeft(t *testing.T) {
	ctx := context.Background()
	for _, size := range []int{10, 5000} {
		_, s := openSmall(t)
		s.largeFrom = 1000
		var list []queue.Content
		for range 2 {
			id, err := putSize(s, "example.com", size)
			must(t, err)
			c, err := s.Open(ctx, id)
			must(t, err)
			list = append(list, c)
			if len(list) == 1 {
				must(t, s.Drop(ctx, id))
			}
		}
		if _, err := list[0].Open(); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("a content of %d bytes whose message has left = %v, want ErrNotFound", size, err)
		}
		for _, id := range []string{"no id", formatID(1 << 40)} {
			if c, err := s.Open(ctx, id); !errors.Is(err, queue.ErrNotFound) || c != nil {
				t.Errorf("Open of %q = %v, %v, want ErrNotFound", id, c, err)
			}
		}
		must(t, s.Close())
		if _, err := list[1].Open(); !errors.Is(err, queue.ErrClosed) {
			t.Errorf("a content of %d bytes of a spool that is closed = %v, want ErrClosed", size, err)
		}
	}
}

// TestLargeContentMakesRoom puts a large content where its name or its blocks do not fit,
// until something that is not needed any more is deleted. Where they fit nothing is
// deleted for it, and every byte is written once.
func TestLargeContentMakesRoom(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for _, op := range []crashfs.Op{crashfs.OpCreate, crashfs.OpWrite, crashfs.OpOpen} { // of which the last one fits
		fs := crashfs.New(1)
		s, err := openByHand(fs, Options{LargeContent: 1000})
		must(t, err)
		needless := segmentsOfOne(t, s, 2)[0]
		old := fileName(segmentPrefix, 1)
		must(t, s.Drop(ctx, needless))
		writes := 0
		fs.Inject(func(o crashfs.Op, name string) error {
			if !strings.HasPrefix(name, contentPrefix) {
				return nil
			}
			if o == crashfs.OpWrite {
				writes++
			}
			if o == op && s.given.Load() == 0 {
				return syscall.ENOSPC
			}
			return nil
		})
		text := noise(3 * blockSize)
		id, err := s.Put(ctx, now, &queue.Message{Recipients: textMessage("").Recipients, Content: queue.Bytes(text)})
		fs.Inject(nil)
		if err != nil {
			t.Fatalf("%v fails until there is room: Put = %v", op, err)
		}
		if got, err := readContent(s, id); err != nil || got != string(text) {
			t.Errorf("%v fails until there is room: it is read as %d bytes, %v", op, len(got), err)
		}
		_, gone := sizeOf(fs, old)
		if fits := op == crashfs.OpOpen; fits == (gone != nil) {
			t.Errorf("%v fails until there is room, and of the segment that is not needed there is %v", op, gone)
		}
		if want := map[bool]int{true: 5, false: 4}[op == crashfs.OpWrite]; writes != want {
			t.Errorf("%v fails until there is room, and there were %d writes, want %d", op, writes, want)
		}
	}
}

// blocksOf is how many blocks a file of a content has, which are in one group and as long
// as may be, but for the last.
func blocksOf(fs *crashfs.FS, name string) (n int, err error) {
	f, err := fs.Open(name, false)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	h, err := record.ReadHeader(f, record.ContentFile)
	if err != nil {
		return 0, err
	}
	groups := record.NewGroups(f, size, h.Salt, record.HeaderSize)
	for groups.Next() {
		list := groups.Frames()
		for i, b := range list {
			if length := b.To - b.From; b.Kind != record.KindBlock || i < len(list)-1 && length != record.FrameSize+blockSize {
				return n, fmt.Errorf("block %d of %d has %d bytes with its header", i, len(list), length)
			}
		}
		if n > 0 || !groups.Whole() {
			return n, errors.New("the blocks are not in one group")
		}
		n = len(list)
	}
	return n, groups.Err()
}

// TestContentThatCannotBeRead has each read of a content fail once, as a bad sector does or
// otherwise: unless enough was read, the cause is told, and only the first is damage.
func TestContentThatCannotBeRead(t *testing.T) {
	odd := errors.New("odd")
	failed := 0
	for _, size := range []int{10, 5000, 30 * blockSize} {
		fs := crashfs.New(1)
		s, err := openByHand(fs, Options{LargeContent: blockSize})
		must(t, err)
		id, err := putSize(s, "example.com", size)
		must(t, err)
		before := fs.Descriptors()
		for _, cause := range []error{odd, syscall.EIO} {
			for n, hit := 1, true; hit; n++ {
				hit = false
				nth := crashfs.FailNth(crashfs.OpRead, n, false, cause)
				fs.Inject(func(op crashfs.Op, name string) error {
					err := nth(op, name)
					hit = hit || err != nil
					return err
				})
				got, err := readContent(s, id)
				fs.Inject(nil)
				if told := errors.Is(err, cause); told != (err != nil) || told && !hit || errors.Is(err, queue.ErrDamaged) != (told && cause == syscall.EIO) || !told && len(got) != size {
					t.Errorf("read %d of %d bytes fails with %v: %d bytes, %v", n, size, cause, len(got), err)
				}
				if err != nil {
					failed++
				}
				if open := fs.Descriptors(); open != before || pins(s) > 0 {
					t.Errorf("read %d of %d bytes fails: %d files are open and were %d before, and %d segments are in use", n, size, open, before, pins(s))
				}
			}
		}
	}
	if failed < 20 {
		t.Errorf("only %d reads made a content unreadable", failed)
	}
}

// TestContentFileWithOtherBlocks has the file of a content be another one's, or have
// blocks that no content has: it is damaged, and no byte is read that is not in it.
func TestContentFileWithOtherBlocks(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	const size = blockSize + 500
	text := noise(size)
	type block struct {
		kind  record.Kind
		flags record.Flags
		body  []byte
	}
	sound := []block{{record.KindBlock, record.First, text[:blockSize]}, {record.KindBlock, record.Last, text[blockSize:]}}
	for name, c := range map[string]struct {
		number uint64 // of another message
		kind   record.FileKind
		blocks []block
		sound  bool

		missing bool
	}{
		"as it was":             {blocks: sound, sound: true},
		"of another message":    {number: 4711, blocks: sound},
		"of another kind":       {kind: record.SegmentFile, blocks: sound},
		"without blocks":        {},
		"missing":               {missing: true},
		"the last is missing":   {blocks: sound[:1]},
		"another kind of block": {blocks: []block{{record.KindTable, record.First, text[:blockSize]}, sound[1]}},
		"a block is too long":   {blocks: []block{{record.KindBlock, record.First | record.Last, text}}},
		"a block is empty":      {blocks: []block{{record.KindBlock, record.First, nil}, sound[0], sound[1]}},
		"more than there is":    {blocks: []block{sound[0], {record.KindBlock, 0, text[:blockSize]}}},
		"it ends early":         {blocks: []block{{record.KindBlock, record.First | record.Last, text[:blockSize]}, sound[1]}},
		"it does not end":       {blocks: []block{sound[0], {record.KindBlock, 0, text[blockSize:]}}},
	} {
		t.Run(name, func(t *testing.T) {
			fs := crashfs.New(1)
			s, err := openByHand(fs, Options{LargeContent: 1000})
			must(t, err)
			id, err := s.Put(ctx, now, &queue.Message{Recipients: textMessage("").Recipients, Content: queue.Bytes(text)})
			must(t, err)
			number, _ := parseID(id)
			const salt = 4712
			kind := c.kind
			if kind == 0 {
				kind = record.ContentFile
			}
			file := record.FileHeader{Kind: kind, Number: max(number, c.number), Salt: salt}.Append(nil)
			for _, b := range c.blocks {
				f := record.Frame{Kind: b.kind, Flags: b.flags, Body: b.body, BodySum: record.Sum(b.body)}
				file = f.Append(file, salt, int64(len(file)))
			}
			f, err := fs.Open(fileName(contentPrefix, number), true)
			must(t, err)
			must(t, f.Truncate(0))
			_, err = f.WriteAt(file, 0)
			must(t, err)
			must(t, f.Close())
			if c.missing {
				must(t, fs.Remove(fileName(contentPrefix, number)))
			}
			descriptors := fs.Descriptors()
			got, err := readContent(s, id)
			if errors.Is(err, queue.ErrDamaged) == c.sound || (err == nil) != c.sound {
				t.Errorf("reading it = %v", err)
			}
			if c.sound != (len(got) == size) || !bytes.HasPrefix(text, []byte(got)) {
				t.Errorf("%d bytes are read of %d", len(got), size)
			}
			if n := fs.Descriptors(); n != descriptors {
				t.Errorf("%d files are open, and %d were before", n, descriptors)
			}
			damage := fmt.Sprint(err)
			if c.sound {
				content, err := s.Open(ctx, id)
				must(t, err)
				r := reader(t, content)
				for left := size; left > 0; {
					n, err := r.Read(make([]byte, blockSize-1))
					if n == 0 || err != nil {
						t.Fatalf("with %d bytes left a read returns %d, %v", left, n, err)
					}
					left -= n
				}
				must(t, r.Close())
			}
			problems, err := check(fs.Copy())
			if named := len(problems) > 0; err != nil || named == c.sound || named && problems[0].Err.Error() != damage {
				t.Errorf("Check = %v, %v", problems, err)
			}
		})
	}
}
