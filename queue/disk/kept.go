package disk

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/outcomes"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// The outcomes of recipients are in the log, in the group of the settlement. Like the keys
// of messages that have left, they are copied to separate files before the log may go.

func newOutcomes(o *Options) *outcomes.Log {
	most := o.MaxOutcomes
	if most <= 0 {
		most = DefaultMaxOutcomes
	}
	return outcomes.New(o.KeepOutcomes.Microseconds(), most)
}

// outcomesPiece is how many outcomes one record has at most.
const outcomesPiece = 64

// keepOutcomes adds the outcomes of recipients that are over to the ticket of their
// settlement: as records or, if there is no room for those, without. It reports whether
// there are records. The lock is held.
func (s *Spool) keepOutcomes(t *ticket, o *record.Outcomes, over []record.Recipient, records bool) bool {
	if !s.outcomes.Keeps() || len(over) == 0 {
		return false
	}
	size := outcomesPiece
	if !records { // one record, since they have one place
		s.limits.fitReplies(over)
		size = len(over)
	}
	for piece := range slices.Chunk(over, size) {
		o.List = make([]record.Outcome, len(piece))
		for i := range piece {
			p := &piece[i]
			o.List[i] = record.Outcome{Address: p.Address, Index: p.Index, Attempts: p.Attempts, Outcome: p.Outcome, Reply: p.Reply}
		}
		r := outcomes.Record{Time: index.Micros(o.Time), Count: len(piece), Head: o.Append(nil)}
		from, cost := 0, int64(0) // the place of the first frame stands for those without
		if records {
			f := frame{}
			f.Kind, f.Head = record.KindOutcomes, r.Head
			from, cost = len(t.frames), f.Len()
			t.frames = append(t.frames, f)
		}
		t.more = append(t.more, joined{func(_ *hold, g *segment, at []uint32) {
			g.cost += cost
			r.At = g.where(at[0])
			s.outcomes.Add(r)
		}, from})
	}
	return records
}

// outcomes adds a record of the log, unless a file has it.
func (r *replayer) outcomes(f *record.Located) error {
	o, n, err := record.ParseOutcomesState(f.Head)
	if err != nil {
		return err
	}
	r.g.cost += f.To - f.From
	r.s.outcomes.Replay(outcomes.Record{
		At: r.g.where(uint32(f.From)), Time: index.Micros(o.Time), Count: n, Head: slices.Clone(f.Head),
	})
	return nil
}

// outcomesDue reports whether so many outcomes wait that they must be written to a file.
// The lock is held.
func (s *Spool) outcomesDue() bool {
	return s.outcomes.Waiting() > max(s.outcomesFrom, min(s.segmentSize/4, 1<<20))
}

// settledBefore is the place in the log before which all records are in the index, and
// saved. The lock is held.
func (s *Spool) settledBefore() record.Place {
	g := s.current
	if g == nil { // nothing was written since Open
		return record.Place{Segment: math.MaxUint64}
	}
	if saved := g.where(g.saved); saved.Before(s.applied) {
		return saved
	}
	return s.applied
}

// saveOutcomes copies the outcomes in the log to their files, and saves those. If there is
// no room, they stay in memory, and are lost with the process. If the last file cannot be
// written to, another one begins.
func (s *Spool) saveOutcomes() error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.Lock()
	waiting := s.outcomes.Waiting()
	s.mu.Unlock()
	if waiting == 0 {
		return nil
	}
	if err := s.settleLog(); err != nil {
		return err
	}
	for {
		s.mu.Lock()
		f, list := s.outcomes.Next(s.settledBefore())
		s.mu.Unlock()
		if f == nil {
			break
		}
		begun := f.End > 0
		err := s.extendOutcomes(f, list)
		if errors.Is(err, queue.ErrFull) && s.removeOutcomes() {
			continue
		}
		if errors.Is(err, queue.ErrFull) || vfs.IsExhausted(err) {
			s.mu.Lock()
			s.outcomesFrom = 2 * s.outcomes.Waiting() // or with the next checkpoint
			s.mu.Unlock()
			return nil
		}
		if begun && isOfTheFile(err) {
			s.mu.Lock()
			s.outcomes.Leave(f)
			s.mu.Unlock()
			continue
		}
		if err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.outcomesFrom = 0
	s.mu.Unlock()
	s.removeOutcomes()
	return nil
}

// removeOutcomes deletes the files of which everything is forgotten, and reports whether
// there were any.
func (s *Spool) removeOutcomes() bool {
	s.mu.Lock()
	dead := s.outcomes.Dead()
	s.mu.Unlock()
	for _, number := range dead {
		_ = s.fs.Remove(fileName(outcomesPrefix, number)) // the next Open reads and drops it again
		s.given.Add(1)
	}
	return len(dead) > 0
}

// settleLog returns when all calls before it are in the index, and saved.
func (s *Spool) settleLog() error {
	s.mu.Lock()
	if s.current == nil && !s.unsaved { // nothing was written
		defer s.mu.Unlock()
		return s.failure
	}
	t := &ticket{durable: true, class: ending}
	s.line.enqueue(t)
	s.mu.Unlock()
	return s.wait(t)
}

// extendOutcomes appends records to a file.
func (s *Spool) extendOutcomes(to *outcomes.File, list []outcomes.Record) error {
	begin := to.End
	var buf []byte
	if begin == 0 {
		var salt [8]byte
		_, _ = rand.Read(salt[:])
		to.Salt = binary.LittleEndian.Uint64(salt[:])
		buf = record.FileHeader{Kind: record.OutcomesFile, Number: to.Number, Salt: to.Salt}.Append(nil)
		before := record.Frame{Kind: record.KindBefore, Flags: record.First | record.Last, Head: to.Before().Append(nil)}
		buf = before.Append(buf, to.Salt, int64(len(buf)))
	} else {
		buf = s.fillFile(buf, to.Salt, begin, begin) // there was no room to fill it
	}
	offs := make([]int64, len(list))
	for i := range list {
		frame := record.Frame{Kind: record.KindOutcomes, Flags: record.First | record.Last, Mark: uint32(begin)}
		frame.Head = slices.Clone(list[i].Head)
		record.SetAt(frame.Head, list[i].At)
		offs[i] = begin + int64(len(buf))
		buf = frame.Append(buf, to.Salt, offs[i])
	}
	buf = s.fillFile(buf, to.Salt, begin+int64(len(buf)), begin)
	if err := s.appendTo(fileName(outcomesPrefix, to.Number), to.Salt, begin, buf); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes.Saved(to, list, offs, begin+int64(len(buf)))
	return nil
}

// loadOutcomes reads the files, and saves the end of the last one, as that of keys.
func (s *Spool) loadOutcomes(numbers []uint64, readOnly bool) error {
	var last *outcomes.File
	var ends *appended
	for i, number := range numbers {
		name := fileName(outcomesPrefix, number)
		f, err := s.files.another(func() (vfs.File, error) { return s.fs.Open(name, false) })
		if err != nil {
			return err
		}
		to, a, err := s.loadOutcomesFile(f, number, i == len(numbers)-1)
		_ = f.Close()
		switch {
		case errors.Is(err, record.ErrNewer):
			return fmt.Errorf("%w: %s: %w", ErrNewer, name, err)
		case isDamage(err):
			if s.damagedFile(name, err, i == len(numbers)-1) { // else its number would have been used again
				s.outcomes.Lost()
			}
			continue // or the log has its records
		case err != nil:
			return err
		}
		switch {
		case s.outcomes.Load(to):
			last, ends = to, a
		case a.saved > 0: // all that was saved in it is damaged
			s.outcomes.Lost()
		case !readOnly: // it was cut off
			_ = s.fs.Remove(name)
		}
	}
	if last == nil { // any may have been deleted, and then there was no room for another
		s.outcomes.Lost()
		return nil
	}
	if readOnly {
		return nil
	}
	var err error
	last.End, err = s.saveEnd(ends)
	return err
}

func (s *Spool) loadOutcomesFile(f vfs.File, number uint64, isLast bool) (*outcomes.File, *appended, error) {
	h, err := record.ReadHeader(f, record.OutcomesFile)
	if err == nil && h.Number != number {
		err = record.ErrDamaged
	}
	if err != nil {
		return nil, nil, err
	}
	size, err := f.Size()
	if err == nil && size < record.HeaderSize {
		err = record.ErrDamaged
	}
	if err != nil {
		return nil, nil, err
	}
	to := &outcomes.File{Number: number, Salt: h.Salt, End: record.HeaderSize}
	a := &appended{name: fileName(outcomesPrefix, number), salt: h.Salt}
	marks := record.NewScanner(f, size, h.Salt, record.HeaderSize)
	for marks.Next() {
		a.saved = max(a.saved, int64(marks.Frame().Mark))
		if !isLast {
			a.saved = max(a.saved, marks.End())
		}
	}
	if err := marks.Err(); err != nil {
		return nil, nil, err
	}
	scan := record.NewScanner(f, size, h.Salt, record.HeaderSize)
	for scan.Next() {
		if scan.Offset() > to.End && to.End >= a.saved {
			break // a gap that a power cut has left: the log has what follows
		}
		frame := scan.Frame()
		if frame.Kind == record.KindSaved {
			continue // the next part replaces it
		}
		to.End = scan.End()
		switch frame.Kind {
		case record.KindBefore:
			if before, err := record.ParseBefore(frame.Head); err == nil {
				to.LoadBefore(before)
			}
		case record.KindOutcomes:
			o, n, err := record.ParseOutcomesState(frame.Head)
			if err != nil {
				s.problem(a.name, scan.Offset(), err)
				continue
			}
			to.LoadRecord(o.At, index.Micros(o.Time), n, scan.Offset())
		}
	}
	to.End = max(to.End, a.saved) // if what is saved there is damaged
	a.end, a.unreadable = to.End, to.End > size
	s.nameGaps(a, marks.Gaps(), size, isLast)
	return to, a, nil
}
