package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/outcomes"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// errNotKept is the error of Outcomes if there is no such option.
var errNotKept = fmt.Errorf("disk: outcomes are not kept: Options.KeepOutcomes is not set: %w", errors.ErrUnsupported)

// position is the place of an outcome: of its record in the log, and its place in that.
type position struct {
	record.Place
	index int // counted from 1; 0 is before all of the record
}

func (p position) String() string { return fmt.Sprintf("%016x%08x%08x", p.Segment, p.Offset, p.index) }

// before reports whether a position comes before another.
func (p position) before(other position) bool {
	return p.Place.Before(other.Place) || p.Place == other.Place && p.index < other.index
}

// forgottenOf is the position of the last outcome that was forgotten. Spool.mu is held.
func forgottenOf(l *outcomes.Log) position {
	last := l.Forgotten()
	return position{last.At, last.Count}
}

// parsePosition reads what String returns, and no other.
func parsePosition(s string) (position, error) {
	var p position
	if len(s) == 32 {
		segment, _ := strconv.ParseUint(s[:16], 16, 64)
		offset, _ := strconv.ParseUint(s[16:24], 16, 32)
		index, _ := strconv.ParseUint(s[24:], 16, 32)
		p = position{record.Place{Segment: segment, Offset: uint32(offset)}, int(index)}
	}
	if p.String() != s {
		return position{}, &queue.PositionError{Position: s}
	}
	return p, nil
}

// Outcomes returns a page of the outcomes that are kept.
func (s *Spool) Outcomes(ctx context.Context, want queue.OutcomeOptions) (queue.OutcomePage, error) {
	if err := s.begin(ctx); err != nil {
		return queue.OutcomePage{}, err
	}
	defer s.end()
	if !s.outcomes.Keeps() {
		return queue.OutcomePage{}, errNotKept
	}
	if want.Max <= 0 {
		want.Max = queue.DefaultMax
	}
	var after position
	var err error
	if want.After != "" {
		if after, err = parsePosition(want.After); err != nil {
			return queue.OutcomePage{}, err
		}
	}
	if err := s.settleOutcomes(); err != nil {
		return queue.OutcomePage{}, err
	}
	for {
		r := &outcomeReader{s: s, after: after, page: queue.OutcomePage{Next: want.After}, most: want.Max}
		forgotten, err := r.read(ctx)
		if err != nil {
			return queue.OutcomePage{}, err
		}
		if forgotten { // while it was read
			continue
		}
		if r.page.Next == "" && r.floor != (position{}) {
			r.page.Next = r.floor.String()
		}
		r.page.Missed = want.After != "" && (r.damaged || after.before(r.floor))
		return r.page, nil
	}
}

// settleOutcomes has those saved that were settled before.
func (s *Spool) settleOutcomes() error {
	s.mu.Lock()
	none := s.outcomes.Waiting() == 0
	s.mu.Unlock()
	if none {
		return nil
	}
	return s.settleLog()
}

// outcomeReader reads one page.
type outcomeReader struct {
	s     *Spool
	after position
	most  int
	page  queue.OutcomePage
	floor position // of the last that was forgotten

	damaged bool // some could not be read
}

// read fills the page. It reports whether something of it was forgotten meanwhile.
func (r *outcomeReader) read(ctx context.Context) (forgotten bool, err error) {
	s := r.s
	s.mu.Lock()
	r.floor = forgottenOf(s.outcomes)
	parts, waiting := s.outcomes.After(r.after.Place, s.settledBefore(), min(r.most, math.MaxInt-2)+2)
	s.mu.Unlock()
	for i := range parts {
		if r.page.More {
			return false, nil
		}
		err := r.part(ctx, &parts[i])
		if err == nil {
			continue
		}
		s.mu.Lock()
		forgotten = forgottenOf(s.outcomes) != r.floor
		s.mu.Unlock()
		if forgotten { // with its file
			return true, nil
		}
		if !isDamage(err) && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		r.damaged = true
	}
	for i := range waiting {
		o, err := record.ParseOutcomes(waiting[i].Head)
		if err != nil {
			return false, readError(err)
		}
		o.At = waiting[i].At
		if !r.add(&o) {
			break
		}
	}
	return false, nil
}

// part adds what is in a part of a file.
func (r *outcomeReader) part(ctx context.Context, p *outcomes.Part) error {
	f, err := r.s.files.another(func() (vfs.File, error) { return r.s.fs.Open(fileName(outcomesPrefix, p.Number), false) })
	if err != nil {
		return err
	}
	defer f.Close()
	scan := record.NewScanner(f, p.End, p.Salt, p.From)
	bad, before := 0, 0 // records that make no sense; what could not be read before the last record
	for scan.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		frame := scan.Frame()
		if frame.Kind != record.KindOutcomes {
			continue
		}
		o, err := record.ParseOutcomes(frame.Head)
		if err != nil {
			bad++
			continue
		}
		n := len(r.page.Outcomes)
		more := r.add(&o)
		if len(r.page.Outcomes) > n && len(scan.Gaps())+bad > before { // else another page goes over it
			r.damaged = true
		}
		if !more {
			return nil
		}
		before = len(scan.Gaps()) + bad
	}
	r.damaged = r.damaged || len(scan.Gaps())+bad > before
	return scan.Err()
}

// add adds the outcomes of a record, and reports whether the page takes more.
func (r *outcomeReader) add(o *record.Outcomes) bool {
	for i := range o.List {
		at := position{o.At, i + 1}
		if !r.after.before(at) {
			continue
		}
		if len(r.page.Outcomes) == r.most {
			r.page.More = true
			return false
		}
		one := &o.List[i]
		r.page.Next = at.String()
		r.page.Outcomes = append(r.page.Outcomes, queue.FinalOutcome{
			Position: r.page.Next, Message: formatID(o.ID), Tenant: o.Tenant, Key: o.Key,
			Recipient: one.Index, Address: one.Address, Outcome: one.Outcome, Reply: one.Reply,
			Attempts: one.Attempts, Time: o.Time,
		})
	}
	return true
}
