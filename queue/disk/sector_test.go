package disk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// extent is a range of a file.
type extent struct {
	file     string
	from, to int64
}

// extents is which ranges of which files each message of a spool lies in: its
// groups, and the file of its content.
func extents(t *testing.T, fs *crashfs.FS) map[string][]extent {
	t.Helper()
	list, err := fs.List()
	must(t, err)
	lies := map[string][]extent{}
	at := func(number uint64, file string, from, to int64) {
		id := formatID(number)
		lies[id] = append(lies[id], extent{file, from, to})
	}
	for _, f := range list {
		if number, ok := numberOf(f.Name, contentPrefix); ok {
			at(number, f.Name, record.HeaderSize, f.Size) // the header is there twice
		}
		if _, ok := numberOf(f.Name, segmentPrefix); !ok {
			continue
		}
		h, err := fs.Open(f.Name, false)
		must(t, err)
		head, err := record.ReadHeader(h, record.SegmentFile)
		must(t, err)
		groups := record.NewGroups(h, f.Size, head.Salt, record.HeaderSize)
		for groups.Next() {
			for _, r := range groups.Frames() {
				if m, err := record.ParseMessage(r.Head); r.Kind == record.KindMessage && err == nil {
					at(m.ID, f.Name, groups.From(), groups.To())
				}
			}
		}
	}
	return lies
}

// TestBadSectors has a sector anywhere that cannot be read any more. The spool
// opens, takes mail, is compacted and opens again; what lies in the sector is
// lost, Check names it, and nothing else is.
func TestBadSectors(t *testing.T) {
	const sector = 512
	for _, checkpoint := range []int{0, 40} {
		fs, content := filled(t, checkpoint)
		lies := extents(t, fs.Copy())
		list, err := fs.List()
		must(t, err)
		rng := rand.New(rand.NewPCG(3, uint64(checkpoint)))
		rounds := int(seeds(100, 5000))
		named := 0
		for range rounds {
			f := list[rng.IntN(len(list))]
			if f.Size == 0 {
				continue
			}
			from := rng.Int64N(f.Size) / sector * sector
			hurt := fs.Copy()
			hurt.Spoil(f.Name, from, from+sector)
			in := map[string]bool{} // what lies in the sector
			for id, ranges := range lies {
				for _, r := range ranges {
					in[id] = in[id] || r.file == f.Name && r.from < from+sector && r.to > from
				}
				if !in[id] {
					delete(in, id)
				}
			}
			n, err := badSector(hurt, content, in)
			if err != nil {
				t.Fatalf("%s from %d (checkpoint after %d): %v", f.Name, from, checkpoint, err)
			}
			named += n
		}
		if named < rounds/10 {
			t.Errorf("only %d messages were named as damaged", named)
		}
	}
}

// badSector uses a spool with a bad sector and returns how many messages Check
// names.
func badSector(fs *crashfs.FS, content map[string]string, in map[string]bool) (named int, err error) {
	ctx, now := context.Background(), time.Unix(2e9, 0)
	problems, err := check(fs.Copy())
	if err != nil {
		return 0, fmt.Errorf("check: %w", err)
	}
	names := map[string]bool{}
	for _, p := range problems {
		for _, id := range p.Messages {
			names[id] = true
			if !in[id] {
				return 0, fmt.Errorf("check names %s, which does not lie there: %v", id, p)
			}
		}
	}
	if len(in) > 0 && len(problems) == 0 {
		return 0, fmt.Errorf("check says nothing, and %v lie there", in)
	}
	for life := range 3 {
		s, err := openByHand(fs, small())
		if err != nil {
			return 0, fmt.Errorf("open %d: %w", life, err)
		}
		if err := readAll(s, content, in, names); err != nil {
			return 0, fmt.Errorf("opened %d times: %w", life+1, err)
		}
		c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 1000})
		if err != nil {
			return 0, fmt.Errorf("claim %d: %w", life, err)
		}
		if len(c.Deliveries) < len(content)-len(in) {
			return 0, fmt.Errorf("%d of %d messages were claimed", len(c.Deliveries), len(content))
		}
		s.rollNow = true
		id, err := s.Put(ctx, now.Add(time.Hour), textMessage("as ever"))
		if err != nil {
			return 0, fmt.Errorf("put: %w", err)
		}
		if err := s.Drop(ctx, id); err != nil {
			return 0, fmt.Errorf("drop: %w", err)
		}
		for _, g := range slices.Clone(s.segments.list) {
			if g == nil || g == s.current || len(g.from) > 0 || life == 2 {
				continue
			}
			if err := s.compact(ctx, g); err != nil {
				return 0, fmt.Errorf("compact: %w", err)
			}
		}
		if err := readAll(s, content, in, names); err != nil {
			return 0, fmt.Errorf("compacted %d times: %w", life+1, err)
		}
		fs = fs.Restart()
	}
	return len(names), nil
}

// readAll reads every message that does not lie in the sector. Those that do can
// be there, and one that Check has named must be, damaged.
func readAll(s *Spool, content map[string]string, in, names map[string]bool) error {
	for id, want := range content {
		_, err := s.Show(context.Background(), id)
		text := ""
		if err == nil {
			text, err = readContent(s, id)
		}
		if err == nil && text != want {
			return fmt.Errorf("the content of %s is not what was put", id)
		}
		if err != nil && !in[id] || names[id] && !isDamage(err) {
			return fmt.Errorf("%s lies there: %v, is named: %v, and: %w", id, in[id], names[id], err)
		}
	}
	return nil
}

// TestBadSectorWhereTheLogIsCompacted has a bad sector in the segment with the
// least in it: the others are given up as if there were none.
func TestBadSectorWhereTheLogIsCompacted(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	segments := func(spoil bool) int {
		fs := crashfs.New(1)
		o := Options{SegmentSize: 16 << 10, sector: 512}
		s, err := openByHand(fs, o)
		must(t, err)
		for i := range 1000 {
			m := textMessage(strings.Repeat("x", 200))
			m.Recipients[0].Address = fmt.Sprintf("a@d%d.example", i%20)
			_, err := s.Put(ctx, now, m)
			must(t, err)
		}
		must(t, s.takeCheckpoint(ctx))
		for i := range 20 {
			c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 1000, Destinations: []string{fmt.Sprintf("d%d.example", i)}})
			must(t, err)
			for j, d := range c.Deliveries { // the first segment keeps least
				if number, _ := parseID(d.Lease.Message); index.Ordinal(number) > 1 && (index.Ordinal(number) < 20 || j%6 > 0) {
					_, err := s.Settle(ctx, now, []queue.Settlement{{Lease: d.Lease, Results: []queue.Result{{Outcome: queue.Delivered}}}})
					must(t, err)
				}
			}
		}
		if spoil {
			fs.Spoil(fileName(segmentPrefix, 1), 8192, 8704)
			fs.Spoil(fileName(segmentPrefix, 1), 1024, 2048) // with the first message
		}
		for range 3 {
			must(t, s.maintain(ctx))
		}
		return len(s.segments.byNumber)
	}
	if with, without := segments(true), segments(false); with > without+1 {
		t.Errorf("%d segments are left with a bad sector in one, %d without", with, without)
	}
}

// TestDamageToWhatWasMoved has damage in a message that was moved after the last
// checkpoint, to more than one destination: those that can be read are delivered,
// and the others are there as damaged, as they are without a checkpoint.
func TestDamageToWhatWasMoved(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	for record1, kind := range map[string]record.Kind{"a delivery's": record.KindDelivery, "the message's": record.KindMessage} {
		for n := range 8 {
			checkpoint, spoil, destinations := n&1 != 0, n&2 != 0, 1+5*(n>>2)
			if spoil && destinations == 1 {
				continue // nothing of the group can be read, so nothing tells whose it was
			}
			fs := crashfs.New(1)
			s, err := openByHand(fs, small())
			must(t, err)
			m := textMessage("text of the message")
			m.Recipients = nil
			for i := range destinations {
				m.Recipients = append(m.Recipients, queue.Recipient{Address: strings.Repeat("a", 600) + fmt.Sprintf("@d%d.example", i)})
			}
			id, err := s.Put(ctx, now, m)
			must(t, err)
			old := s.current
			s.rollNow = true
			mustPut(t, s)
			if checkpoint {
				must(t, s.takeCheckpoint(ctx))
			}
			must(t, s.compact(ctx, old))
			mustPut(t, s)
			must(t, s.Close())
			number, _ := parseID(id)
			name, from := find(t, fs, number, kind)
			if spoil {
				fs.Spoil(name, from/512*512, from/512*512+512)
			} else {
				fs.Flip(name, from+record.FrameSize+4, 1)
			}
			what := fmt.Sprintf("%s record hit (bad sector %v, checkpoint %v, %d destinations)", record1, spoil, checkpoint, destinations)
			problems, err := check(fs.Copy())
			must(t, err)
			if checkpoint && !slices.ContainsFunc(problems, func(p Problem) bool { return slices.Contains(p.Messages, id) }) {
				t.Errorf("%s: Check does not name %s: %v", what, id, problems)
			}
			for range 2 {
				s, err = openByHand(fs, small())
				must(t, err)
				c, err := s.Claim(ctx, now, queue.ClaimOptions{})
				must(t, err)
				sound, bad := 0, len(c.Unreadable)
				for _, d := range c.Deliveries {
					if d.Lease.Message == id {
						sound++
					}
				}
				if checkpoint && sound+bad != destinations || kind == record.KindDelivery && sound < destinations-2 {
					t.Errorf("%s: of %d deliveries %d can be read and %d are known as damaged", what, destinations, sound, bad)
				}
				must(t, s.takeCheckpoint(ctx)) // what is known as damaged stays known
				fs = fs.Restart()
			}
		}
	}
}

// find is where the last record of a kind is that is about a message.
func find(t *testing.T, fs *crashfs.FS, number uint64, kind record.Kind) (name string, from int64) {
	t.Helper()
	list, err := fs.List()
	must(t, err)
	for _, f := range list {
		if !strings.HasPrefix(f.Name, segmentPrefix) {
			continue
		}
		file, err := fs.Open(f.Name, false)
		must(t, err)
		h, err := record.ReadHeader(file, record.SegmentFile)
		must(t, err)
		groups := record.NewGroups(file, f.Size, h.Salt, record.HeaderSize)
		for groups.Next() {
			for _, r := range groups.Frames() {
				d, err1 := record.ParseDeliveryState(r.Head)
				m, err2 := record.ParseMessage(r.Head)
				if r.Kind == kind && (kind == record.KindDelivery && err1 == nil && d.ID == number ||
					kind == record.KindMessage && err2 == nil && m.ID == number) {
					name, from = f.Name, r.From
				}
			}
		}
	}
	if name == "" {
		t.Fatal("there is no such record")
	}
	return name, from
}

// TestContentsBesideDamage has the file of a content that nothing speaks of, and
// damage. It is deleted if a checkpoint has everything that is lost, and stays if
// what spoke of it may be lost.
func TestContentsBesideDamage(t *testing.T) {
	for _, checkpoint := range []int{0, 60} {
		fs, _ := filled(t, checkpoint)
		must(t, fs.Remove(fileName(segmentPrefix, 2)))
		orphan := fileName(contentPrefix, index.Number(500, 1))
		h, err := fs.Create(orphan)
		must(t, err)
		must(t, h.Close())
		s, err := openByHand(fs, small())
		must(t, err)
		if len(s.problems) == 0 {
			t.Fatal("there is no damage")
		}
		must(t, s.Close())
		_, err = fs.Open(orphan, false)
		if there := err == nil; there != (checkpoint == 0) {
			t.Errorf("checkpoint after %d messages: the content that nothing speaks of is there: %v", checkpoint, there)
		}
	}
}
