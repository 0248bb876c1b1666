package disk

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// contentWriter keeps content in memory until it is large, and then writes it to the
// message's own file.
type contentWriter struct {
	s      *Spool
	ctx    context.Context // of the call that writes it
	number uint64
	small  bytes.Buffer
	size   int64
	large  vfs.File
	salt   uint64
	off    int64
	flags  record.Flags
	buf    []byte // of the last block, whose room the next one uses
}

// blockSize is how much of a content one frame of its file holds.
const blockSize = 64 << 10

func (w *contentWriter) Write(p []byte) (int, error) {
	if w.size += int64(len(p)); w.size > math.MaxUint32 {
		return 0, tooLarge()
	}
	if w.large == nil {
		if w.size < w.s.largeFrom {
			return w.small.Write(p)
		}
		if err := w.create(); err != nil {
			return 0, err
		}
	}
	return w.stream(p)
}

// stream writes blocks, and keeps a rest that is not a whole block or may be the last
// one.
func (w *contentWriter) stream(p []byte) (int, error) {
	n := len(p)
	for w.small.Len() > blockSize { // only when the file was begun
		if err := w.block(w.small.Next(blockSize), 0); err != nil {
			return 0, err
		}
	}
	if have := w.small.Len(); have > 0 {
		most := min(len(p), blockSize-have)
		w.small.Write(p[:most])
		if p = p[most:]; len(p) == 0 {
			return n, nil
		}
		if err := w.block(w.small.Bytes(), 0); err != nil {
			return 0, err
		}
		w.small.Reset()
	}
	for len(p) > blockSize {
		if err := w.block(p[:blockSize], 0); err != nil {
			return 0, err
		}
		p = p[blockSize:]
	}
	w.small.Write(p)
	return n, nil
}

func (w *contentWriter) create() error {
	create := func() (vfs.File, error) { return w.s.fs.Create(fileName(contentPrefix, w.number)) }
	f, err := w.s.files.another(create)
	if vfs.IsFull(err) && w.s.reclaim(w.ctx) {
		f, err = w.s.files.another(create)
	}
	if err != nil {
		return err
	}
	w.large = f
	var salt [8]byte
	_, _ = rand.Read(salt[:])
	w.salt = binary.LittleEndian.Uint64(salt[:])
	head := record.FileHeader{Kind: record.ContentFile, Number: w.number, Salt: w.salt}.Append(nil)
	w.off, w.flags = int64(len(head)), record.First
	return w.writeAt(head, 0)
}

// writeAt writes, and tries again if deleting unneeded data has made room.
func (w *contentWriter) writeAt(b []byte, off int64) error {
	_, err := w.large.WriteAt(b, off)
	if vfs.IsFull(err) && w.s.reclaim(w.ctx) {
		_, err = w.large.WriteAt(b, off)
	}
	return err
}

func (w *contentWriter) block(p []byte, flags record.Flags) error {
	f := record.Frame{Kind: record.KindBlock, Flags: w.flags | flags, Body: p, BodySum: record.Sum(p)}
	w.flags = 0
	w.buf = f.Append(w.buf[:0], w.salt, w.off)
	if err := w.writeAt(w.buf, w.off); err != nil {
		return err
	}
	w.off += int64(len(w.buf))
	return nil
}

// finish saves the file, if there is one, before the log speaks of it.
func (w *contentWriter) finish() error {
	if w.large == nil {
		return nil
	}
	if err := w.block(w.small.Bytes(), record.Last); err != nil {
		return err
	}
	err := w.large.Sync()
	if err == nil {
		err = w.s.fs.SyncDir()
	}
	if vfs.IsFull(err) { // nothing refers to the file yet
		return err
	}
	if err != nil {
		return w.s.fail(err)
	}
	return w.large.Close()
}

func (w *contentWriter) close() {
	if w.large != nil {
		_ = w.large.Close()
	}
}

// Open returns a message's content. It can be opened any number of times while the message
// is in the queue and the spool is open.
func (s *Spool) Open(ctx context.Context, id string) (queue.Content, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.end()
	number, _ := parseID(id) // nothing is found if it is not valid
	s.mu.Lock()
	defer s.mu.Unlock()
	slot, known := s.index.Some(number)
	if !known {
		return nil, queue.ErrNotFound
	}
	return &content{s: s, number: number, size: int64(s.index.Size(slot))}, nil
}

// content is the content of a message in the spool.
type content struct {
	s      *Spool
	number uint64
	size   int64
}

func (c *content) Size() int64 { return c.size }

// Open reads a small content as a whole, so that damage shows before the first
// byte is used, and a large one block by block.
func (c *content) Open() (io.ReadCloser, error) {
	if err := c.s.begin(context.Background()); err != nil {
		return nil, err
	}
	defer c.s.end()
	h, m, err := c.s.openMessage(c.number, true)
	if err != nil {
		return nil, err
	}
	defer c.s.unpin(h.segment)
	if m.InFile {
		c.s.buffers.put(h.buf)
		return c.s.openLarge(c.number, c.size)
	}
	body := h.rest
	if len(body) >= h.header.BodyLen {
		body = body[:h.header.BodyLen]
		if record.Sum(body) != h.header.BodySum {
			return nil, readError(fmt.Errorf("content of %s: %w", formatID(c.number), record.ErrDamaged))
		}
	} else if body, err = record.ReadBody(h.segment.file, int64(h.off), h.header, nil); err != nil {
		return nil, readError(err)
	}
	return &smallReader{s: c.s, buf: h.buf, left: body}, nil
}

func (s *Spool) openLarge(number uint64, size int64) (io.ReadCloser, error) {
	f, err := s.files.another(func() (vfs.File, error) {
		return s.fs.Open(fileName(contentPrefix, number), false)
	})
	if errors.Is(err, fs.ErrNotExist) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.index.Has(number) { // it has left meanwhile
			return nil, queue.ErrNotFound
		}
		return nil, fmt.Errorf("%w: %w", queue.ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	h, err := record.ReadHeader(f, record.ContentFile)
	if err == nil && h.Number != number {
		err = fmt.Errorf("content of another message: %w", record.ErrDamaged)
	}
	if err != nil {
		_ = f.Close()
		return nil, readError(err)
	}
	return &largeReader{file: f, salt: h.Salt, off: record.HeaderSize, left: size}, nil
}

// largeReader reads a content file. No byte leaves it unverified.
type largeReader struct {
	file  vfs.File
	salt  uint64
	off   int64
	left  int64  // of the content, after block
	block []byte // read and not yet handed out
	buf   []byte
}

func (r *largeReader) Read(p []byte) (int, error) {
	if len(r.block) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, readError(err)
		}
	}
	n := copy(p, r.block)
	r.block = r.block[n:]
	return n, nil
}

func (r *largeReader) next() error {
	h, _, _, err := record.ReadHead(r.file, r.salt, r.off, record.FrameSize)
	if err != nil {
		return err
	}
	last := h.Flags&record.Last != 0
	if h.Kind != record.KindBlock || h.BodyLen > blockSize || h.BodyLen == 0 ||
		int64(h.BodyLen) > r.left || last != (int64(h.BodyLen) == r.left) {
		return fmt.Errorf("content file at %d: %w", r.off, record.ErrDamaged)
	}
	if r.buf, err = record.ReadBody(r.file, r.off, h, r.buf); err != nil {
		return err
	}
	r.block = r.buf
	r.left -= int64(len(r.block))
	r.off += h.Len()
	return nil
}

func (r *largeReader) Close() error { return r.file.Close() }
