package disk

import (
	"slices"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// TestWhichPageMissesWhatIsDamaged reads outcomes in pages of any length while one in the
// middle of their file cannot be read: the page that goes over it is told that some are
// missed, and no other page is.
func TestWhichPageMissesWhatIsDamaged(t *testing.T) {
	const all, lost = 600, 200
	whole := crashfs.New(1)
	s, err := openByHand(whole, keeping())
	must(t, err)
	for range all {
		mustEnd(t, s)
	}
	must(t, s.saveOutcomes())
	_, page := messagesOf(t, s, "")
	must(t, s.Close())
	name := fileName(outcomesPrefix, 1)
	frames := outcomeFrames(t, whole, name)
	if len(frames) != all || len(page.Outcomes) != all || frames[all-1].at-frames[lost].at < 20<<10 {
		t.Fatalf("%d records and %d outcomes, want %d, so that they are not found together", len(frames), len(page.Outcomes), all)
	}
	var positions []string
	for _, o := range page.Outcomes {
		positions = append(positions, o.Position)
	}
	for what, hurt := range map[string]func(*crashfs.FS, *outcomeFrame){
		"damaged":       func(fs *crashfs.FS, f *outcomeFrame) { fs.Flip(name, f.at+record.FrameSize+1, 1) },
		"without sense": func(fs *crashfs.FS, f *outcomeFrame) { f.spoil(t, fs, name) },
	} {
		fs := whole.Copy()
		hurt(fs, &frames[lost])
		s, err := openByHand(fs, keeping())
		must(t, err)
		for _, most := range []int{1, 7, 100, all} {
			told, after := 0, 0 // after is the last that was read
			for more := true; more; {
				page, err := s.Outcomes(t.Context(), queue.OutcomeOptions{After: positions[after], Max: most})
				must(t, err)
				if len(page.Outcomes) == 0 {
					t.Fatalf("%s, pages of %d: none after %d", what, most, after)
				}
				last := slices.Index(positions, page.Next)
				over := after < lost && last > lost
				if page.Missed != over || last-after != len(page.Outcomes)+map[bool]int{true: 1}[over] {
					t.Errorf("%s, pages of %d: %d outcomes after %d up to %d, and some are missed: %v", what, most, len(page.Outcomes), after, last, page.Missed)
				}
				if page.Missed {
					told++
				}
				after, more = last, page.More
			}
			if after != all-1 || told != 1 {
				t.Errorf("%s, pages of %d: the last is %d, and %d pages say that some are missed", what, most, after, told)
			}
		}
		must(t, s.Close())
	}
}

// outcomeFrame is a record of a file of outcomes.
type outcomeFrame struct {
	at   int64
	salt uint64
	record.Frame
}

func outcomeFrames(t *testing.T, fs *crashfs.FS, name string) (list []outcomeFrame) {
	t.Helper()
	f, err := fs.Open(name, false)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	h, err := record.ReadHeader(f, record.OutcomesFile)
	must(t, err)
	for scan := record.NewScanner(f, size, h.Salt, record.HeaderSize); scan.Next(); {
		if frame := *scan.Frame(); frame.Kind == record.KindOutcomes {
			frame.Head = slices.Clone(frame.Head)
			list = append(list, outcomeFrame{scan.Offset(), h.Salt, frame})
		}
	}
	return list
}

// spoil writes the record again, intact, with a list of outcomes that is none.
func (o outcomeFrame) spoil(t *testing.T, fs *crashfs.FS, name string) {
	t.Helper()
	o.Head = slices.Clone(o.Head)
	o.Head[len(o.Head)-1] = 0xff
	f, err := fs.Open(name, true)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt(o.Append(nil, o.salt, o.at), o.at)
	must(t, err)
}

// lastOutcomeAlone has two messages leave, whose outcomes are in a file each, and the log go
// that had them too if it is to. It returns the position of the first.
func lastOutcomeAlone(t *testing.T, gone bool) (fs *crashfs.FS, o Options, first, last string) {
	t.Helper()
	fs, o = crashfs.New(1), keeping()
	o.MaxOutcomes = 16
	s, err := openByHand(fs, o)
	must(t, err)
	for range 2 {
		last = mustEnd(t, s)
		must(t, s.saveOutcomes())
	}
	if gone {
		must(t, giveUp(s))
	}
	_, page := messagesOf(t, s, "")
	if len(page.Outcomes) != 2 {
		t.Fatalf("%d outcomes, want 2", len(page.Outcomes))
	}
	return fs.Kill(), o, page.Outcomes[0].Position, last
}

// TestTornFileMissesNothing has the last file of outcomes in pieces, as a power cut leaves it
// before it was ever saved, while the log has what was in it: who has read those of the file
// before is told that nothing is missed.
func TestTornFileMissesNothing(t *testing.T) {
	name := fileName(outcomesPrefix, 2)
	for what, tear := range map[string]func(*crashfs.FS){
		"its beginning is torn": func(fs *crashfs.FS) { fs.Flip(name, 1, 1); fs.Flip(name, 513, 1) },
		"its end is missing": func(fs *crashfs.FS) {
			end := outcomeFrames(t, fs, name)[0].at
			f, err := fs.Open(name, true)
			must(t, err)
			defer f.Close()
			must(t, f.Truncate(end))
		},
	} {
		fs, o, first, last := lastOutcomeAlone(t, false)
		tear(fs)
		for round := range 2 {
			s, err := openByHand(fs, o)
			must(t, err)
			if got, page := messagesOf(t, s, first); len(got) != 1 || got[0] != last || page.Missed || len(s.problems) > 0 {
				t.Errorf("%s, opening %d: after the first come %v, missed %v, %v, want %s", what, round, got, page.Missed, s.problems, last)
			}
			must(t, s.Close())
		}
	}
}

// TestAllOfTheLastFileIsDamaged has damage to the only outcome of the last file: Check names
// it, and who goes on from the one before is told that some are missed, now and after more
// restarts, and not those who have read what comes behind it.
func TestAllOfTheLastFileIsDamaged(t *testing.T) {
	for restarts := range 3 {
		fs, o, first, _ := lastOutcomeAlone(t, true)
		name := fileName(outcomesPrefix, 2)
		fs.Flip(name, outcomeFrames(t, fs, name)[0].at+record.FrameSize+1, 1)
		for range restarts {
			problems, err := check(fs)
			must(t, err)
			if len(problems) != 1 || problems[0].File != name {
				t.Errorf("Check says %v, want a problem of %s", problems, name)
			}
			s, err := openByHand(fs, o)
			must(t, err)
			must(t, s.Close())
		}
		s, err := openByHand(fs, o)
		must(t, err)
		next := mustEnd(t, s)
		for round := range 3 {
			got, page := messagesOf(t, s, first)
			if len(got) != 1 || got[0] != next || !page.Missed {
				t.Errorf("after %d restarts, opening %d: after the first come %v, missed %v, want %s and that some are missed", restarts, round, got, page.Missed, next)
			}
			if _, page := messagesOf(t, s, page.Next); page.Missed {
				t.Errorf("after %d restarts, opening %d: some are missed after the last", restarts, round)
			}
			must(t, s.Close())
			s, err = openByHand(fs, o)
			must(t, err)
		}
		must(t, s.Close())
	}
}

// TestPageThatEndsBeforeDamage reads outcomes by pages of one, of which the last that is saved is
// damaged: a page says that some are missed if it goes up to the damage, and not before.
func TestPageThatEndsBeforeDamage(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	for range 4 {
		mustEnd(t, s)
	}
	must(t, giveUp(s))
	_, page := messagesOf(t, s, "")
	fs = fs.Kill()
	name := fileName(outcomesPrefix, 1)
	frames := outcomeFrames(t, fs, name)
	fs.Flip(name, frames[3].at+record.FrameSize+1, 1)
	s, err = openByHand(fs, keeping())
	must(t, err)
	for i, missed := range []bool{false, true, true} {
		one, err := s.Outcomes(t.Context(), queue.OutcomeOptions{After: page.Outcomes[i].Position, Max: 1})
		must(t, err)
		if want := min(1, 2-i); len(one.Outcomes) != want || one.Missed != missed {
			t.Errorf("after %d: %d outcomes, some are missed: %v, want %d and %v", i, len(one.Outcomes), one.Missed, want, missed)
		}
	}
}
