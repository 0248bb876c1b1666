package disk

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// TestOpenedSpoolReckonsTheSame uses a spool at random and opens copies of its disk,
// with the checkpoints and without. They know the same of every delivery, key and
// postponement as the spool that wrote it, and the same of every segment, so that
// they give up the same segments, as early.
func TestOpenedSpoolReckonsTheSame(t *testing.T) {
	for seed := range seeds(60, 2000) {
		o := small()
		if seed%2 == 1 {
			o.SegmentSize = 4 << 10
		}
		l := newLife(seed, o)
		must(t, l.open())
		for step := range 200 {
			must(t, l.step())
			if step%20 != 19 {
				continue
			}
			if err := l.reckonsTheSame(); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
	}
}

// TestOpenedSpoolKnowsWhatSegmentsCost has records of each kind be written, and written
// again: what they cost their segments is the same when the log is read.
func TestOpenedSpoolKnowsWhatSegmentsCost(t *testing.T) {
	fs := crashfs.New(1)
	sameCosts(t, fs, varied(t, fs, 0), small())
	fs = crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	mustEnd(t, s)
	before := s.current.cost
	mustEnd(t, s)
	with := s.current.cost - before
	sameCosts(t, fs, s, keeping())
	fs = crashfs.New(1)
	s, err = openByHand(fs, small())
	must(t, err)
	mustEnd(t, s)
	before = s.current.cost
	mustEnd(t, s)
	if without := s.current.cost - before; with <= without {
		t.Errorf("a message that ends costs %d bytes, and %d where its outcome is kept", without, with)
	}
}

func sameCosts(t *testing.T, fs *crashfs.FS, s *Spool, o Options) {
	t.Helper()
	opened, err := openByHand(fs.Copy(), o)
	must(t, err)
	for number, g := range s.segments.byNumber {
		if is := opened.segments.byNumber[number]; is == nil || is.cost != g.cost {
			t.Errorf("the records of segment %d cost %d, and when it is opened %v", number, g.cost, is)
		}
	}
}

func (l *life) reckonsTheSame() error {
	ctx := context.Background()
	for _, how := range []string{"as it is", "without checkpoints", "after a power cut"} {
		fs, checkpoints := l.fs.Copy(), how != "without checkpoints"
		switch {
		case !checkpoints:
			if err := withoutCheckpoints(fs); err != nil {
				return err
			}
		case how == "after a power cut":
			if err := l.s.save(); err != nil {
				return err
			}
			l.saved()
			fs = l.fs.Copy().Restart()
		}
		s, err := openByHand(fs, l.o)
		if err != nil {
			return err
		}
		if err := l.s.endHolds(ctx, l.now); err != nil {
			return err
		}
		if err := s.endHolds(ctx, l.now); err != nil {
			return err
		}
		was, is := l.reckoning(l.s, checkpoints), l.reckoning(s, checkpoints)
		if d := difference(was, is); d != "" {
			return fmt.Errorf("opened again %s:\n%s", how, d)
		}
		if err := l.sameOutcomes(s); err != nil {
			return fmt.Errorf("opened again %s: %w", how, err)
		}
		for id := range l.content {
			if number, _ := parseID(id); index.Ordinal(number) >= s.nextMessage.Load() {
				return fmt.Errorf("the next message gets number %d, and %s had a later one", s.nextMessage.Load(), id)
			}
		}
		if err := s.Close(); err != nil {
			return err
		}
		if problems, err := check(fs.Copy()); err != nil || len(problems) > 0 {
			return fmt.Errorf("Check: %v, %v", problems, err)
		}
	}
	return nil
}

// reckoning is what a spool knows, in lines. What only a checkpoint has is left out
// where there is none.
func (l *life) reckoning(s *Spool, checkpoints bool) (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	s.mu.Lock()
	defer s.mu.Unlock()
	names := map[string]bool{}
	numbers, _, _ := s.index.List(nil, 0, s.index.Messages()+1, "")
	for _, number := range numbers {
		slots, _ := s.index.Slots(nil, number, 0, 1<<30)
		for _, slot := range slots {
			e := s.index.Get(slot)
			names[e.Destination] = true
			home, at := s.segments.list[e.Home].number, s.segments.list[e.Record.Segment].number
			due := ""
			if checkpoints { // which alone may know of flushes
				due = fmt.Sprintf("at once %v, since %d", e.AtOnce, e.Since)
			}
			add("delivery %s %s tenant %q priority %d size %d flags %x home %d record %d:%d %s", formatID(number), e.Destination,
				e.Tenant, e.Priority, e.Size, e.Flags, home, at, e.Record.Offset, due)
		}
	}
	for _, g := range s.segments.list {
		if g == nil {
			continue
		}
		add("segment %d size %d cost %d gone %v from %v broken %v", g.number, g.size, g.cost, g.gone, g.from, g.broken)
		if g != s.current && g.number < s.nextSegment-1 {
			add("segment %d saved up to %d", g.number, g.saved)
		}
		if !checkpoints || g.number > s.checkpoint.Segment {
			add("segment %d flushes %v", g.number, g.flushes)
		}
		list, _ := s.index.Postponements(g.slot, 0, 1<<30)
		for _, p := range list {
			names[p.Name] = true
			if !p.Until.After(l.now) { // one that has passed, or ends another, need not be known
				continue
			}
			add("postponement of %s until %v %q at %v", p.Name, p.Until, p.Reason, g.where(p.Record.Offset))
		}
	}
	for h, number := range s.keys.known {
		add("key %x of %s", h[:4], formatID(number))
	}
	for number, until := range s.holdEnds.All() {
		add("hold of %s until %d", formatID(number), until)
	}
	add("suspended %s", haltedOf(s.suspended))
	add("room for ends %d", s.index.EndRoom())
	room := s.index.NameRoom() // without that of what the other may have forgotten
	for name := range names {
		room -= 32 + int64(len(name))
	}
	add("room for other names %d", room)
	add("log of %d bytes, applied to %v, next segment %d", s.logBytes, s.applied, s.nextSegment)
	if checkpoints {
		add("checkpoint %v of %d bytes, the next is %d", s.checkpoint, s.checkpointSize, s.nextCheckpoint)
	}
	s.mu.Unlock()
	for tenant := range 2 {
		for key := range 20 {
			number, known, err := s.leftWith(hashKey(fmt.Sprint(tenant), fmt.Sprint(key)), l.now)
			add("key %d of tenant %d, whose message has left: %s %v %v", key, tenant, formatID(number), known, err)
		}
	}
	s.mu.Lock()
	slices.Sort(lines)
	return lines
}

// difference is what is in one list alone.
func difference(was, is []string) string {
	var b strings.Builder
	for _, line := range was {
		if !slices.Contains(is, line) {
			b.WriteString("was: " + line + "\n")
		}
	}
	for _, line := range is {
		if !slices.Contains(was, line) {
			b.WriteString("is:  " + line + "\n")
		}
	}
	return b.String()
}
