package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// outcomesUnopened is a spool of which the first file of outcomes, which has two, cannot be
// opened any more, and many segments of which nothing is needed but their outcomes.
func outcomesUnopened(t *testing.T, name string, why error) (fs *crashfs.FS, s *Spool, ids []string) {
	t.Helper()
	fs = crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	for i := range 13 {
		s.rollNow = true
		if ids = append(ids, mustEnd(t, s)); i != 1 {
			continue
		}
		must(t, s.saveOutcomes())
		fs.Inject(func(op crashfs.Op, n string) error {
			if n == name && op == crashfs.OpOpen {
				return why
			}
			return nil
		})
	}
	s.rollNow = true
	mustPut(t, s)
	return fs, s, ids
}

// TestMaintenanceBesideOutcomesThatCannotBeOpened has the last file of outcomes be missing, or
// not to be opened: the log goes nevertheless, and no outcome that it had is lost in a power
// cut.
func TestMaintenanceBesideOutcomesThatCannotBeOpened(t *testing.T) {
	name := fileName(outcomesPrefix, 1)
	for _, why := range []error{syscall.EACCES, syscall.EIO, syscall.ENOENT} {
		fs, s, ids := outcomesUnopened(t, name, why)
		must(t, s.maintain(context.Background()))
		if n := len(s.segments.byNumber); n > 3 {
			t.Errorf("%v: %d segments are in use after maintenance", why, n)
		}
		fs.Inject(nil)
		_, page := messagesOf(t, s, "")
		first := page.Outcomes[0].Position
		missing := why == syscall.ENOENT
		fs = fs.Kill()
		if missing {
			must(t, fs.Remove(name))
		}
		for round := range 2 {
			s, err := openByHand(fs, keeping())
			must(t, err)
			got, page := messagesOf(t, s, first)
			want := ids[1:]
			if missing {
				want = ids[2:]
			}
			if !slices.Equal(got, want) || page.Missed != missing {
				t.Errorf("%v, opening %d: outcomes of %v, missed %v, want %v", why, round, got, page.Missed, want)
			}
			must(t, s.Close())
		}
	}
}

// TestMaintenanceBesideAFileThatCannotBeWritten has a file of keys, or of outcomes, refuse
// what comes after its first part, and go on refusing: the log goes nevertheless, and all is
// known after a power cut.
func TestMaintenanceBesideAFileThatCannotBeWritten(t *testing.T) {
	for _, prefix := range []string{keysPrefix, outcomesPrefix} {
		for _, op := range []crashfs.Op{crashfs.OpOpen, crashfs.OpTruncate, crashfs.OpWrite} {
			for _, why := range []error{syscall.EACCES, syscall.EIO, syscall.EROFS} {
				what := fmt.Sprintf("%s, %v: %v", fileName(prefix, 1), op, why)
				fs := crashfs.New(1)
				s, err := openByHand(fs, keeping())
				must(t, err)
				left := map[string]string{}
				for i := range 9 {
					s.rollNow = true
					key := fmt.Sprint("key ", i)
					left[key], err = endKeyed(s, key)
					must(t, err)
					if i == 1 {
						must(t, errors.Join(s.saveKeys(), s.saveOutcomes()))
						fs.Inject(func(o crashfs.Op, n string) error {
							if o == op && n == fileName(prefix, 1) {
								return why
							}
							return nil
						})
					}
					if i == 5 {
						must(t, s.maintain(context.Background()))
					}
				}
				s.rollNow = true
				mustPut(t, s)
				must(t, s.maintain(context.Background()))
				if n := len(s.segments.byNumber); n > 3 {
					t.Errorf("%s: %d segments are in use after maintenance", what, n)
				}
				fs.Inject(nil)
				must(t, known(s, left))
				fs = fs.Kill()
				for range 2 {
					s, err := openByHand(fs, keeping())
					must(t, err)
					if err := known(s, left); err != nil || len(s.problems) > 0 {
						t.Errorf("%s: after a restart %v, %v", what, err, s.problems)
					}
					must(t, s.Close())
				}
			}
		}
	}
}
