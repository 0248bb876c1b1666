package disk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// learned is what a reader of outcomes has been told, of a spool that is used at random. It
// goes on at its position, whatever becomes of the spool.
type learned struct {
	position string
	heard    map[recipientKey]string
	few      bool // not all are kept
	lossy    bool // some may be missed

	parts   map[string][]queue.Part   // of each message, by its content
	result  map[recipientKey][]string // of each recipient that was settled: the last is the last, or the one before
	dropped map[string]bool           // messages that may have been dropped
}

type recipientKey struct {
	id    string
	index int
}

func newLearned(seed uint64, o *Options) learned {
	o.KeepOutcomes = 1e4 * time.Hour
	l := learned{
		heard: map[recipientKey]string{}, parts: map[string][]queue.Part{},
		result: map[recipientKey][]string{}, dropped: map[string]bool{},
	}
	if l.few = seed%4 == 3; l.few {
		o.MaxOutcomes = 16
	}
	return l
}

// loses reports whether outcomes may be missed if some operations fail: there is no room for
// them, or they cannot be read.
func loses(cause error, ops ...crashfs.Op) bool {
	return vfs.IsFull(cause) || errors.Is(cause, syscall.EMFILE) || slices.Contains(ops, crashfs.OpRead)
}

// settles notes what a settlement says, until ended has its error: nil if it was recorded,
// queue.ErrLeaseLost if not, and else it may have been.
func (l *life) settles(b *queue.Settlement, d *queue.Delivery) (ended func(err error)) {
	before := maps.Clone(l.result)
	for i, r := range b.Results {
		k := recipientKey{b.Lease.Message, r.Recipient}
		l.result[k] = append(slices.Clone(l.result[k]), fmt.Sprint(
			d.Message.Recipients[i].Address, r.Outcome, r.Reply.Text, d.States[i].Attempts+1, d.Message.Key, d.Message.Tenant))
	}
	return func(err error) {
		if errors.Is(err, queue.ErrLeaseLost) {
			l.result = before
		}
		for _, r := range b.Results {
			k := recipientKey{b.Lease.Message, r.Recipient}
			if n := len(l.result[k]); err == nil {
				l.result[k] = l.result[k][n-1:]
			}
		}
	}
}

// learn reads what has been settled since, some of it or all.
func (l *life) learn(most int) error {
	for {
		page, err := l.s.Outcomes(context.Background(), queue.OutcomeOptions{After: l.position, Max: most})
		if err != nil {
			return err
		}
		if page.Missed && !l.few && !l.lossy {
			return errors.New("an outcome was missed, and all are kept")
		}
		for _, o := range page.Outcomes {
			k := recipientKey{o.Message, o.Recipient}
			text := fmt.Sprint(o.Address, o.Outcome, o.Reply.Text, o.Attempts, o.Key, o.Tenant)
			if was, twice := l.heard[k]; twice {
				return fmt.Errorf("%v has two outcomes: %s and %s", k, was, text)
			}
			if o.Position <= l.position {
				return fmt.Errorf("an outcome at %s after %s", o.Position, l.position)
			}
			if !slices.Contains(l.result[k], text) {
				return fmt.Errorf("the outcome of %v is %q, want %q", k, text, l.result[k])
			}
			l.heard[k], l.position = text, o.Position
		}
		if l.position = page.Next; !page.More || most > 0 && l.rng.IntN(2) == 0 {
			return nil
		}
	}
}

// compareOutcomes compares what was settled according to the spool with its outcomes, and
// those of a copy without checkpoints with them.
func (l *life) compareOutcomes() error {
	if err := l.learn(0); err != nil {
		return err
	}
	pending := map[recipientKey]bool{}
	numbers, _, _ := l.s.index.List(nil, 0, l.s.index.Messages(), "")
	for _, number := range numbers {
		for _, slot := range l.s.slots(number) {
			d, h, err := l.s.readDelivery(slot, number)
			if err != nil {
				return err
			}
			l.s.unpin(h.segment)
			for _, r := range d.Recipients {
				pending[recipientKey{formatID(number), r.Index}] = true
			}
		}
	}
	for id, text := range l.content {
		for _, p := range l.parts[text] {
			for _, i := range p.Recipients {
				k := recipientKey{id, i}
				_, heard := l.heard[k]
				switch {
				case heard && pending[k]:
					return fmt.Errorf("%v is pending and has an outcome: %s", k, l.heard[k])
				case !heard && !pending[k] && !l.dropped[id] && !l.few && !l.lossy:
					return fmt.Errorf("%v has ended and has no outcome", k)
				}
			}
		}
	}
	return nil
}

// allOutcomes are all that a spool keeps.
func allOutcomes(s *Spool) ([]queue.FinalOutcome, error) {
	page, err := s.Outcomes(context.Background(), queue.OutcomeOptions{Max: 1 << 20})
	return page.Outcomes, err
}

// sameOutcomes compares the outcomes of another opening of the same disk.
func (l *life) sameOutcomes(other *Spool) error {
	want, err := allOutcomes(l.s)
	if err != nil {
		return err
	}
	got, err := allOutcomes(other)
	if err != nil {
		return err
	}
	same := func(a, b queue.FinalOutcome) bool {
		return a.Position == b.Position && a.Message == b.Message && a.Recipient == b.Recipient && a.Time.Equal(b.Time)
	}
	if l.few { // it is forgotten at other times
		n := min(len(got), len(want))
		got, want = got[len(got)-n:], want[len(want)-n:]
	}
	if !l.lossy && !slices.EqualFunc(got, want, same) {
		return fmt.Errorf("%d outcomes, want %d", len(got), len(want))
	}
	return nil
}

// follower reads the outcomes of a spool that others use at the same time, whatever becomes
// of it.
type follower struct {
	position string
	heard    map[string]bool // by message and address
	lossy    bool            // some may be missed
}

// read reads until nothing more is there.
func (r *follower) read(s *Spool, most int) error {
	for {
		page, err := s.Outcomes(context.Background(), queue.OutcomeOptions{After: r.position, Max: most})
		if err != nil {
			return err
		}
		if page.Missed && !r.lossy {
			return fmt.Errorf("an outcome after %s was missed", r.position)
		}
		for _, o := range page.Outcomes {
			key := o.Message + " " + o.Address
			if r.heard[key] || o.Position <= r.position {
				return fmt.Errorf("%s has an outcome at %s, again or after %s", key, o.Position, r.position)
			}
			r.heard[key], r.position = true, o.Position
		}
		if r.position = page.Next; !page.More {
			return nil
		}
	}
}

// follow reads while others work, until done is closed or the spool ends.
func (r *follower) follow(s *Spool, tell func(error) error, done <-chan struct{}) error {
	for {
		select {
		case <-done:
			return nil
		default:
		}
		if err := tell(r.read(s, 3)); err != nil {
			return err
		}
		runtime.Gosched()
	}
}

// compare compares what an owner knows with the outcomes.
func (r *follower) compare(s *Spool, w *owner) error {
	page, err := s.List(context.Background(), queue.ListOptions{Max: 1 << 30})
	if err != nil {
		return err
	}
	waiting := map[string]bool{}
	for i := range page.Entries {
		e := &page.Entries[i]
		for j := range e.Waiting {
			waiting[e.Message.ID+" "+e.Message.Recipients[j].Address] = true
		}
	}
	for id, m := range w.mail {
		for to := range m.attempts {
			key := id + " a@" + to
			if r.heard[key] && waiting[key] {
				return fmt.Errorf("%s is pending and has an outcome", key)
			}
			if !r.heard[key] && !waiting[key] && !m.dropping && !m.dropped && !r.lossy {
				return fmt.Errorf("%s has ended and has no outcome; %s", key, strings.Join(m.history, "; "))
			}
		}
	}
	return nil
}
