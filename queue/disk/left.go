package disk

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/keys"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// The keys of messages that have left are in the log, with the ends of their last
// deliveries. They are copied to separate files before the log may go: before a segment
// is retired, and before a checkpoint lets Open begin after them.

// pieceOfKeys is how many entries one frame of such a file has: what a match costs
// to be read.
const pieceOfKeys = keys.PieceSize

// leftWith returns the message that had a key, and has left, where the key is
// remembered at a time.
func (s *Spool) leftWith(h keyHash, now time.Time) (number uint64, known bool, err error) {
	s.mu.Lock()
	left := s.keys.left
	found, list := left.Find(h, index.Micros(now))
	if found != nil {
		number = found.Message
	}
	s.mu.Unlock()
	if found != nil {
		return number, true, nil
	}
	for i := range list {
		e, err := s.readKey(&list[i])
		switch {
		case errors.Is(err, record.ErrDamaged):
			continue // not known
		case err != nil:
			return 0, false, err
		case e.Hash == h && left.Remembers(&e, index.Micros(now)):
			return e.Message, true, nil
		}
	}
	return 0, false, nil
}

// readKey reads one entry.
func (s *Spool) readKey(m *keys.Match) (keys.Entry, error) {
	f, err := s.fs.Open(fileName(keysPrefix, m.Generation.Number), false)
	if err != nil {
		if vfs.IsExhausted(err) {
			return keys.Entry{}, err
		}
		return keys.Entry{}, fmt.Errorf("%w: %w", record.ErrDamaged, err) // it may have been given up meanwhile
	}
	defer f.Close()
	_, head, _, err := record.ReadHead(f, m.Generation.Salt, m.Off, record.FrameSize+pieceOfKeys*keys.EntrySize)
	if err != nil {
		return keys.Entry{}, err
	}
	if len(head) < (m.At+1)*keys.EntrySize {
		return keys.Entry{}, record.ErrDamaged
	}
	return keys.Parse(head[m.At*keys.EntrySize:]), nil
}

// saveKeys copies the keys in the log to their files, and saves those. If there is no
// room, the keys stay in memory, and are lost with the process. If a file cannot be written
// to, another one begins.
func (s *Spool) saveKeys() error {
	s.keysFile.Lock()
	defer s.keysFile.Unlock()
	s.mu.Lock()
	list := s.keys.left.Unsaved()
	dead := s.keys.left.Dead()
	s.mu.Unlock()
	for _, number := range dead {
		_ = s.fs.Remove(fileName(keysPrefix, number)) // the next Open reads and drops it again
	}
	if len(list) == 0 {
		return nil
	}
	if err := s.save(); err != nil { // no message may have left in these files that the log would bring back
		return err
	}
	for _, g := range list {
		begun := g.End > 0
		err := s.saveGeneration(g)
		if begun && isOfTheFile(err) {
			err = s.saveGeneration(s.moveKeys(g))
		}
		if errors.Is(err, queue.ErrFull) || vfs.IsExhausted(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// moveKeys has another generation take what waits to be saved in one.
func (s *Spool) moveKeys(g *keys.Generation) *keys.Generation {
	h := s.hold()
	defer h.end()
	to := s.keys.left.Another()
	for s.keys.left.Move(g, to) {
		h.step(keys.PieceSize)
	}
	return to
}

func (s *Spool) saveGeneration(g *keys.Generation) error {
	s.mu.Lock()
	pending := g.Pending()
	s.mu.Unlock()
	begin := g.End
	var buf []byte
	if begin == 0 {
		var salt [8]byte
		_, _ = rand.Read(salt[:])
		g.Salt = binary.LittleEndian.Uint64(salt[:])
		buf = record.FileHeader{Kind: record.KeysFile, Number: g.Number, Salt: g.Salt}.Append(nil)
	} else {
		buf = s.fillFile(buf, g.Salt, begin, begin) // there was no room to fill it
	}
	var pieces []keys.Piece
	entries := 0
	for _, list := range pending {
		frame := record.Frame{Kind: record.KindKeys, Flags: record.First | record.Last, Mark: uint32(begin)}
		for i := range list {
			frame.Head = list[i].Append(frame.Head)
		}
		off := begin + int64(len(buf))
		pieces = append(pieces, keys.Piece{From: entries, Off: off})
		entries += len(list)
		buf = frame.Append(buf, g.Salt, off)
	}
	buf = s.fillFile(buf, g.Salt, begin+int64(len(buf)), begin)
	if err := s.appendTo(fileName(keysPrefix, g.Number), g.Salt, begin, buf); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g.End = begin + int64(len(buf))
	g.Saved(entries, pieces)
	return nil
}

// loadKeys reads the files, and saves the end of the last one, unless it must not change
// anything.
func (s *Spool) loadKeys(numbers []uint64, readOnly bool) error {
	var last *keys.Generation
	var ends *appended
	for i, number := range numbers {
		name := fileName(keysPrefix, number)
		f, err := s.files.another(func() (vfs.File, error) { return s.fs.Open(name, false) })
		if err != nil {
			return err
		}
		g, a, err := s.loadGeneration(f, number, i == len(numbers)-1)
		_ = f.Close()
		switch {
		case errors.Is(err, record.ErrNewer):
			return fmt.Errorf("%w: %s: %w", ErrNewer, name, err)
		case isDamage(err):
			s.damagedFile(name, err, true) // what it was for may all have been forgotten since
			continue                       // or the log has its entries
		case err != nil:
			return err
		}
		last, ends = g, a
	}
	if last == nil || readOnly {
		return nil
	}
	var err error
	last.End, err = s.saveEnd(ends)
	return err
}

func (s *Spool) loadGeneration(f vfs.File, number uint64, isLast bool) (*keys.Generation, *appended, error) {
	h, err := record.ReadHeader(f, record.KeysFile)
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
	g := &keys.Generation{Number: number, Salt: h.Salt, End: record.HeaderSize}
	a := &appended{name: fileName(keysPrefix, number), salt: h.Salt}
	scan := record.NewScanner(f, size, h.Salt, record.HeaderSize)
	var behind []keyPiece // a gap that a power cut may have left
	next := g.End
	for scan.Next() {
		frame := scan.Frame()
		a.saved = max(a.saved, int64(frame.Mark))
		p := keyPiece{off: scan.Offset(), end: scan.End()}
		for b := frame.Head; frame.Kind == record.KindKeys && len(b) >= keys.EntrySize; b = b[keys.EntrySize:] {
			p.list = append(p.list, keys.Parse(b))
		}
		switch {
		case frame.Kind == record.KindSaved: // the next part replaces it
		case p.off > next || len(behind) > 0:
			behind, next = append(behind, p), p.end
		default:
			p.load(g)
			next = p.end
		}
		if !isLast {
			a.saved = max(a.saved, p.end)
		}
		if len(behind) > 0 && a.saved >= behind[0].off { // it is damage
			for i := range behind {
				behind[i].load(g)
			}
			behind = nil
		}
	}
	if err := scan.Err(); err != nil {
		return nil, nil, err
	}
	g.End = max(g.End, a.saved) // if what is saved there is damaged
	a.end, a.unreadable = g.End, g.End > size
	s.nameGaps(a, scan.Gaps(), size, isLast)
	s.keys.left.Load(g)
	return g, a, nil
}

// keyPiece is a frame of such a file.
type keyPiece struct {
	off, end int64
	list     []keys.Entry
}

func (p *keyPiece) load(g *keys.Generation) {
	if len(p.list) > 0 {
		g.LoadPiece(p.off, p.list)
	}
	g.End = p.end
}
