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
