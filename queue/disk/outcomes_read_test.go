package disk

import (
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
