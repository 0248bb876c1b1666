package disk

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// interrupted is a directory in which something happens before a file is opened.
type interrupted struct {
	vfs.FS
	name string
	do   func()
}

func (f *interrupted) Open(name string, write bool) (vfs.File, error) {
	if do := f.do; name == f.name && do != nil {
		f.do = nil
		do()
	}
	return f.FS.Open(name, write)
}

// endAt puts a message and has it delivered, at a time.
func endAt(t *testing.T, s *Spool, now time.Time) (id string) {
	t.Helper()
	id, err := s.Put(t.Context(), now, textMessage("text"))
	must(t, err)
	c, err := s.Claim(t.Context(), now, queue.ClaimOptions{})
	must(t, err)
	_, err = s.Settle(t.Context(), now, []queue.Settlement{{Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Delivered}}}})
	must(t, err)
	return id
}

// TestOutcomesThatAreForgottenMeanwhile has the outcomes of a file be forgotten, and the file
// be deleted, when a reader is about to open it: the reader is given those that are left,
// and told that some are missed if it asked for those.
func TestOutcomesThatAreForgottenMeanwhile(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, asks := range []bool{false, true} {
		fs := &interrupted{FS: crashfs.New(1), name: fileName(outcomesPrefix, 1)}
		s, err := openByHand(fs, keeping())
		must(t, err)
		mustEnd(t, s)
		mustEnd(t, s)
		_, page := messagesOf(t, s, "")
		must(t, s.saveOutcomes())
		after, id := "", ""
		if asks {
			after = page.Outcomes[0].Position
		}
		fs.do = func() {
			id = endAt(t, s, now.Add(2*time.Hour))
			must(t, s.saveOutcomes())
		}
		page, err = s.Outcomes(t.Context(), queue.OutcomeOptions{After: after})
		if err != nil || len(page.Outcomes) != 1 || page.Outcomes[0].Message != id || page.Missed != asks {
			t.Errorf("asked for those after %q: %+v, %v, want that of %s", after, page, err, id)
		}
		must(t, s.Close())
	}
}

// TestOutcomesThatCannotBeRead has no descriptor to read outcomes, or an unreadable or a
// missing file: a call without a descriptor fails, and where a file is lost the others are
// returned, and it is said that some are missed.
func TestOutcomesThatCannotBeRead(t *testing.T) {
	o := keeping()
	o.MaxOutcomes = 64 // up to four in a file
	fs := crashfs.New(1)
	s, err := openByHand(fs, o)
	must(t, err)
	for range 6 {
		for range 2 {
			mustEnd(t, s)
		}
		must(t, s.saveOutcomes())
	}
	all, page := messagesOf(t, s, "")
	first := page.Outcomes[0].Position
	name := fileName(outcomesPrefix, 2)
	fail := func(cause error) {
		fs.Inject(func(op crashfs.Op, n string) error {
			if op == crashfs.OpOpen && n == name {
				return cause
			}
			return nil
		})
	}
	fail(syscall.EMFILE)
	if page, err := s.Outcomes(t.Context(), queue.OutcomeOptions{After: first}); !errors.Is(err, syscall.EMFILE) || len(page.Outcomes) > 0 {
		t.Errorf("without a descriptor: %d outcomes, %v", len(page.Outcomes), err)
	}
	for _, missing := range []bool{false, true} {
		if fail(syscall.EIO); missing {
			fs.Inject(nil)
			must(t, fs.Remove(name))
		}
		got, page := messagesOf(t, s, first)
		if want := slices.Concat(all[1:4], all[8:]); !slices.Equal(got, want) || !page.Missed {
			t.Errorf("the file is missing %v: %v, missed %v, want %v", missing, got, page.Missed, want)
		}
		page, err := s.Outcomes(t.Context(), queue.OutcomeOptions{After: first, Max: 2}) // both before it
		if err != nil || len(page.Outcomes) != 2 || page.Missed {
			t.Errorf("the file is missing %v: a page before it has %d outcomes, missed %v, %v", missing, len(page.Outcomes), page.Missed, err)
		}
	}
	must(t, s.Close())
}

// TestOutcomesInPagesOfManyFiles reads pages of any length from many files and from memory.
func TestOutcomesInPagesOfManyFiles(t *testing.T) {
	o := keeping()
	o.MaxOutcomes = 64
	s, err := openByHand(crashfs.New(1), o)
	must(t, err)
	for range 6 {
		mustEnd(t, s)
		mustEnd(t, s)
		must(t, s.saveOutcomes())
	}
	for range 4 {
		mustEnd(t, s)
	}
	all, _ := messagesOf(t, s, "")
	for most := 1; most <= len(all)+1; most++ {
		var got []string
		for after, more := "", true; more; {
			page, err := s.Outcomes(t.Context(), queue.OutcomeOptions{After: after, Max: most})
			must(t, err)
			for _, o := range page.Outcomes {
				got = append(got, o.Message)
			}
			if len(page.Outcomes) > most || page.More != (len(got) < len(all)) || page.Missed || len(got) > len(all) {
				t.Fatalf("pages of %d: %d outcomes, %d with those before, more %v, missed %v", most, len(page.Outcomes), len(got), page.More, page.Missed)
			}
			after, more = page.Next, page.More
		}
		if !slices.Equal(got, all) {
			t.Errorf("pages of %d: %v, want %v", most, got, all)
		}
	}
	must(t, s.Close())
}

// TestDefaultNumberOfOutcomes asks for no number, or for less than none: a page has as many
// as is the default.
func TestDefaultNumberOfOutcomes(t *testing.T) {
	s, err := openByHand(crashfs.New(1), keeping())
	must(t, err)
	m := textMessage("text")
	m.Recipients = nil
	b := queue.Settlement{}
	for i := range queue.DefaultMax + 1 {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("a%d@example.com", i)})
		b.Results = append(b.Results, queue.Result{Recipient: i, Outcome: queue.Delivered})
	}
	now := time.Unix(1e9, 0)
	_, err = s.Put(t.Context(), now, m)
	must(t, err)
	c, err := s.Claim(t.Context(), now, queue.ClaimOptions{})
	must(t, err)
	b.Lease = c.Deliveries[0].Lease
	_, err = s.Settle(t.Context(), now, []queue.Settlement{b})
	must(t, err)
	for _, most := range []int{0, -1} {
		page, err := s.Outcomes(t.Context(), queue.OutcomeOptions{Max: most})
		if err != nil || len(page.Outcomes) != queue.DefaultMax || !page.More {
			t.Errorf("at most %d: %d outcomes, more %v, %v, want %d", most, len(page.Outcomes), page.More, err, queue.DefaultMax)
		}
	}
	must(t, s.Close())
}

// TestFirstReaderOfOutcomes reads where there is nothing yet: whoever goes on from there is
// not told that anything is missed. Where all has been lost, it is told so.
func TestFirstReaderOfOutcomes(t *testing.T) {
	fs := crashfs.New(1)
	s, err := openByHand(fs, keeping())
	must(t, err)
	_, start := messagesOf(t, s, "")
	id := mustEnd(t, s)
	if got, page := messagesOf(t, s, start.Next); len(got) != 1 || got[0] != id || page.Missed {
		t.Errorf("after %q: %v, missed %v, want %s", start.Next, got, page.Missed, id)
	}
	must(t, s.saveOutcomes())
	must(t, fs.Remove(fileName(outcomesPrefix, 1)))
	_, start = messagesOf(t, s, "")
	if start.Next == "" || start.Missed {
		t.Errorf("where nothing can be read a reader is to go on after %q, missed %v, want a position", start.Next, start.Missed)
	}
	id = mustEnd(t, s)
	if got, page := messagesOf(t, s, start.Next); len(got) != 1 || got[0] != id || !page.Missed {
		t.Errorf("after %q: %v, missed %v, want %s and that some are missed", start.Next, got, page.Missed, id)
	}
}

// TestOutcomesBehindLongerRecords goes on after a record of one outcome, and those before it
// have more: none of these is told again.
func TestOutcomesBehindLongerRecords(t *testing.T) {
	now := time.Unix(1e9, 0)
	s, err := openByHand(crashfs.New(1), keeping())
	must(t, err)
	for n := 3; n > 0; n-- {
		m := textMessage("text")
		b := queue.Settlement{}
		m.Recipients = nil
		for i := range n {
			m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("a%d@example.com", i)})
			b.Results = append(b.Results, queue.Result{Recipient: i, Outcome: queue.Delivered})
		}
		_, err := s.Put(t.Context(), now, m)
		must(t, err)
		c, err := s.Claim(t.Context(), now, queue.ClaimOptions{})
		must(t, err)
		b.Lease = c.Deliveries[0].Lease
		_, err = s.Settle(t.Context(), now, []queue.Settlement{b})
		must(t, err)
	}
	must(t, s.saveOutcomes())
	all, page := messagesOf(t, s, "")
	for i, o := range page.Outcomes {
		if got, _ := messagesOf(t, s, o.Position); !slices.Equal(got, all[i+1:]) {
			t.Errorf("after outcome %d come %v, want %v", i, got, all[i+1:])
		}
	}
}
