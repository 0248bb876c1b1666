package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	}{
		"as it was":             {blocks: sound, sound: true},
		"of another message":    {number: 4711, blocks: sound},
		"of another kind":       {kind: record.SegmentFile, blocks: sound},
		"without blocks":        {},
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
			problems, err := check(fs.Copy())
			if named := len(problems) > 0; err != nil || named == c.sound || named && problems[0].Err.Error() != damage {
				t.Errorf("Check = %v, %v", problems, err)
			}
		})
	}
}
