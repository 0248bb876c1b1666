package disk

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// A checkpoint is the index at a place of the log, so that opening reads the log only
// from there on. It is taken piece by piece while the spool works. A delivery that
// changes meanwhile may be in it in its old or new state; reading the log from that
// place on gives the same result, because every record has the complete state of its
// subject. Records that a checkpoint covers are still kept as long as they are needed,
// so a lost or damaged checkpoint costs time and no mail.

// replayCost is what a record of the log takes to be read and put in the index,
// in bytes of contents, which are only summed, that take as long.
const replayCost = 512

// checkpointDue reports whether so much was written since the last checkpoint
// that reading it takes about as long as reading a checkpoint, of which each byte
// counts. The lock is held.
func (s *Spool) checkpointDue() bool {
	return s.sinceCheckpoint > 4*max(s.segmentSize, s.checkpointSize) && !s.isBlocked()
}

// lastMaintenance is for Close: a merger that is due, so that programs that run
// for a moment only do not leave a segment each, and a checkpoint, if it pays.
func (s *Spool) lastMaintenance() error {
	if s.byHand {
		return nil
	}
	s.mu.Lock()
	due := s.mergeDue
	s.mu.Unlock()
	if due {
		if err := s.merge(context.Background()); err != nil {
			return err
		}
	}
	s.mu.Lock()
	due = s.sinceCheckpoint > max(s.segmentSize/16, s.checkpointSize/4) && !s.isBlocked()
	s.mu.Unlock()
	if !due {
		return nil
	}
	return s.takeCheckpoint(context.Background())
}

// takeCheckpoint writes a checkpoint and deletes those before it. Only one runs at a
// time, and no segment is retired meanwhile. If it fails, the next Open deletes what it
// leaves behind.
func (s *Spool) takeCheckpoint(ctx context.Context) (err error) {
	for range mostTries {
		s.mu.Lock()
		size := max(s.checkpointSize, rowRoom*int64(s.index.Len())+s.index.NameRoom())
		s.mu.Unlock()
		err = s.tryCheckpoint(ctx)
		if !errors.Is(err, errMended) && (!errors.Is(err, queue.ErrFull) || !s.makeRoom(working, size)) { // if saving shows that there is no room, everything must be written again
			break
		}
	}
	if errors.Is(err, errMended) {
		err = fmt.Errorf("%w: %w", queue.ErrFull, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.block(err)
	return err
}

var errMended = errors.New("records have been written again meanwhile")

// A checkpoint that does not fit is not begun again before there is more room, or
// much more to read without one.
type obstacle struct {
	err   error  // nil if there is none
	given uint64 // Spool.given then
	bytes int64  // and sinceCheckpoint
}

// block notes how a checkpoint ended. The lock is held.
func (s *Spool) block(err error) {
	s.blocked = obstacle{}
	if errors.Is(err, queue.ErrFull) {
		s.blocked = obstacle{err, s.given.Load(), s.sinceCheckpoint}
	}
}

// isBlocked reports whether a checkpoint would not fit. The lock is held.
func (s *Spool) isBlocked() bool {
	b := &s.blocked
	return b.err != nil && b.given == s.given.Load() && s.sinceCheckpoint < 2*b.bytes+s.segmentSize
}

func (s *Spool) tryCheckpoint(ctx context.Context) error {
	s.sweep()
	s.finishWritten() // what it has so far need not be read again
	s.mu.Lock()
	number := s.nextCheckpoint
	s.nextCheckpoint++
	mends := s.mends
	first := &record.Table{From: s.from(), Next: s.nextMessage.Load()}
	s.index.Pin()
	s.mu.Unlock()
	s.beginCheckpoint(first)
	size, err := s.writeCheckpoint(ctx, number, first)
	if err == nil {
		err = s.saveKeys() // including those of messages that have left since the first piece
	}
	if err == nil {
		err = s.saveOutcomes()
	}
	s.mu.Lock()
	if err == nil && s.mends != mends { // it may say where records were that have been written again
		err = errMended
	}
	s.index.Unpin()
	s.mu.Unlock()
	s.forgetLoose()
	if err != nil {
		_ = s.fs.Remove(fileName(checkpointPrefix, number) + newSuffix)
		return err
	}
	return s.useCheckpoint(number, first, size)
}

// from returns the place from which the log must be read after a checkpoint that begins
// now. The lock is held.
func (s *Spool) from() record.Place {
	from := s.applied
	for _, f := range s.flushes { // that the index does not have as a whole
		if f.written() && f.at.Before(from) {
			from = f.at
		}
	}
	return from
}

// beginCheckpoint records the state of the segments. Records that are written meanwhile
// may be included, and are counted again when the log is read from the checkpoint on.
// The only effect is an unnecessary search for the end of a delivery.
func (s *Spool) beginCheckpoint(t *record.Table) {
	h := s.hold()
	defer h.end()
	for i := 0; i < len(s.segments.list); i++ {
		h.step(1)
		if g := s.segments.list[i]; g != nil {
			h.step(len(g.gone) + len(g.from))
			t.Segments = append(t.Segments, record.SegmentState{
				Number: g.number, Cost: g.cost, Gone: maps.Clone(g.gone),
				From: slices.Sorted(maps.Keys(g.from)),
			})
		}
	}
}

// useCheckpoint makes the new file the checkpoint.
func (s *Spool) useCheckpoint(number uint64, first *record.Table, size int64) error {
	name := fileName(checkpointPrefix, number)
	err := s.fs.Rename(name+newSuffix, name)
	if err != nil {
		return err
	}
	if err := s.fs.SyncDir(); vfs.IsFull(err) {
		return writeError(err)
	} else if err != nil {
		return s.fail(err)
	}
	s.mu.Lock()
	s.checkpoint, s.checkpointSize = first.From, size
	s.mu.Unlock()
	s.checkpoints = slices.DeleteFunc(s.checkpoints, func(old uint64) bool {
		err := s.fs.Remove(fileName(checkpointPrefix, old))
		s.given.Add(1)
		return err == nil || errors.Is(err, fs.ErrNotExist)
	})
	s.checkpoints = append(s.checkpoints, number)
	return nil
}

// writeCheckpoint writes and saves the file, and then ensures that the log is saved as
// far as the file covers it.
func (s *Spool) writeCheckpoint(ctx context.Context, number uint64, first *record.Table) (int64, error) {
	f, err := s.files.another(func() (vfs.File, error) {
		return s.fs.Create(fileName(checkpointPrefix, number) + newSuffix)
	})
	if err != nil {
		return 0, writeError(err)
	}
	defer f.Close()
	w := newTableWriter(s, f, number)
	s.mu.Lock()
	written := s.sinceCheckpoint
	s.mu.Unlock()
	if err := s.writeTables(ctx, w, first); err != nil {
		return 0, writeError(err)
	}
	if err := f.Sync(); vfs.IsFull(err) {
		return 0, writeError(err)
	} else if err != nil {
		return 0, s.fail(err)
	}
	if err := s.save(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.sinceCheckpoint -= written
	s.mu.Unlock()
	return w.off, nil
}

func (s *Spool) writeTables(ctx context.Context, w *tableWriter, first *record.Table) error {
	writePieces(w, first)
	s.writeHolds(w) // before the rows: the end of a hold is not in the log
	rows := uint64(0)
	t := &record.Table{Rows: make([]record.Row, 0, rowsPiece)}
	for next, more := 0, true; more; {
		s.mu.Lock()
		t.Rows, next = s.index.Rows(t.Rows, next, holdMax)
		s.mu.Unlock()
		if more = next > 0; more && len(t.Rows) <= rowsPiece-holdMax {
			continue
		}
		if len(t.Rows) == 0 {
			break
		}
		rows += uint64(len(t.Rows))
		w.write(t)
		if err := cmp.Or(w.err, ctx.Err()); err != nil {
			return err
		}
		t.Rows = t.Rows[:0]
	}
	for next, more := 0, true; more; more = next > 0 {
		names := &record.Table{}
		s.mu.Lock()
		names.Destinations, next = s.index.Destinations(next, holdMax)
		s.mu.Unlock()
		w.write(names)
	}
	last := &record.Table{Last: true, Sum: rows}
	for next, more := 0, true; more; more = next > 0 {
		last.Tenants = slices.Grow(last.Tenants, holdMax) // rather than while the lock is held
		s.mu.Lock()
		last.Tenants, next = s.index.Tenants(last.Tenants, next, holdMax)
		s.mu.Unlock()
	}
	s.writeKnown(w)
	s.mu.Lock()
	for _, g := range s.segments.list {
		if g != nil {
			last.Slots = append(last.Slots, record.SlotName{Slot: g.slot, Number: g.number})
		}
	}
	s.mu.Unlock()
	writePieces(w, last)
	w.flush()
	return w.err
}

// rowsPiece is about how many rows one piece of a checkpoint has.
const rowsPiece = 4096

// writeHolds writes when holds end.
func (s *Spool) writeHolds(w *tableWriter) {
	var holds []record.HoldEnd
	h := s.hold()
	for message, until := range s.holdEnds.All() {
		h.step(1)
		holds = append(holds, record.HoldEnd{Message: message, Until: until})
	}
	h.end()
	for piece := range slices.Chunk(holds, pieceLen) {
		w.write(&record.Table{Holds: piece})
	}
}

// writeKnown writes the keys of the messages in the queue. One that comes or goes
// meanwhile may be among them or not.
func (s *Spool) writeKnown(w *tableWriter) {
	piece := &record.Table{Keys: make([]record.KeyOwner, 0, pieceLen)}
	h := s.hold()
	for key, number := range s.keys.known {
		h.step(1)
		piece.Keys = append(piece.Keys, record.KeyOwner{Hash: key, Message: number})
		if len(piece.Keys) < pieceLen {
			continue
		}
		h.end()
		w.write(piece)
		piece.Keys = piece.Keys[:0]
		h = s.hold()
	}
	h.end()
	w.write(piece)
}

// pieceLen is roughly the number of entries of a list in one piece of a checkpoint, so
// that none is too long to be read.
const pieceLen = 1 << 15

// writePieces writes a table in pieces: the first has what must stand in the
// first of a checkpoint, the last what must stand in the last.
func writePieces(w *tableWriter, t *record.Table) {
	piece := &record.Table{From: t.From, Next: t.Next}
	entries := 0
	next := func(n int) {
		if entries += n; entries >= pieceLen {
			w.write(piece)
			*piece, entries = record.Table{}, 0
		}
	}
	for _, g := range t.Segments {
		piece.Segments = append(piece.Segments, g)
		next(1 + len(g.Gone) + len(g.From))
	}
	for _, n := range t.Tenants {
		piece.Tenants = append(piece.Tenants, n)
		next(1)
	}
	piece.Slots, piece.Last, piece.Sum = t.Slots, t.Last, t.Sum
	w.write(piece)
}

// tableWriter writes the frames of a checkpoint. After an error it writes nothing more.
type tableWriter struct {
	s    *Spool
	file vfs.File
	salt uint64
	off  int64 // of the end of buf
	buf  []byte
	head []byte // of the last frame, whose room the next one uses
	err  error  // of the first write that failed
}

func newTableWriter(s *Spool, f vfs.File, number uint64) *tableWriter {
	var salt [8]byte
	_, _ = rand.Read(salt[:])
	w := &tableWriter{s: s, file: f, salt: binary.LittleEndian.Uint64(salt[:]), off: record.HeaderSize}
	w.buf = record.FileHeader{Kind: record.CheckpointFile, Number: number, Salt: w.salt}.Append(nil)
	return w
}

func (w *tableWriter) write(t *record.Table) {
	w.head = t.Append(w.head[:0])
	f := record.Frame{Kind: record.KindTable, Flags: record.First | record.Last, Head: w.head}
	w.buf = f.Append(w.buf, w.salt, w.off)
	w.off += f.Len()
	if len(w.buf) >= writeSize {
		w.flush()
	}
}

func (w *tableWriter) flush() {
	if w.err == nil {
		w.err = w.s.withRoom(func() error {
			_, err := w.file.WriteAt(w.buf, w.off-int64(len(w.buf)))
			return err
		}, int64(len(w.buf)))
	}
	w.buf = w.buf[:0]
}
