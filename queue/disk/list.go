package disk

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// List returns a page of messages, oldest first.
func (s *Spool) List(ctx context.Context, want queue.ListOptions) (queue.Page, error) {
	if err := s.begin(ctx); err != nil {
		return queue.Page{}, err
	}
	defer s.end()
	most := want.Max
	if most <= 0 {
		most = queue.DefaultMax
	}
	numbers, err := s.listed(ctx, after(want.After), most, want.Destination)
	if err != nil {
		return queue.Page{}, err
	}
	var page queue.Page
	if len(numbers) > most {
		numbers = numbers[:most]
		page.Next = formatID(numbers[most-1])
	}
	for _, number := range numbers {
		if err := ctx.Err(); err != nil {
			return queue.Page{}, err
		}
		e, err := s.show(number)
		switch {
		case errors.Is(err, queue.ErrNotFound):
		case err != nil:
			page.Unreadable = append(page.Unreadable, formatID(number))
		default:
			page.Entries = append(page.Entries, e)
		}
	}
	return page, nil
}

// listed returns the numbers of the messages above one, in order, at most so many
// and one more. It gives the lock up again and again.
func (s *Spool) listed(ctx context.Context, last uint64, most int, destination string) (list []uint64, err error) {
	for more := true; more && len(list) <= most; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(most-len(list), holdMax-1) + 1
		list = slices.Grow(list, n) // rather than while the lock is held
		s.mu.Lock()
		list, last, more = s.index.List(list, last, n, destination)
		s.mu.Unlock()
	}
	return list, nil
}

// after returns the number of an id, or for an invalid id the greatest number whose id
// is less.
func after(id string) uint64 {
	if n, ok := parseID(id); ok {
		return n
	}
	lo, hi := uint64(0), uint64(1)<<48
	for lo+1 < hi {
		if mid := (lo + hi) / 2; formatID(mid) <= id {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// Show returns one message.
func (s *Spool) Show(ctx context.Context, id string) (queue.Entry, error) {
	if err := s.begin(ctx); err != nil {
		return queue.Entry{}, err
	}
	defer s.end()
	number, ok := parseID(id)
	if !ok {
		return queue.Entry{}, queue.ErrNotFound
	}
	return s.show(number)
}

// show reads all deliveries of a message, and the message with the first.
func (s *Spool) show(number uint64) (queue.Entry, error) {
	slots := s.slots(number)
	var (
		shown queue.Entry
		parts []shownRecipient
		found bool
	)
	for _, slot := range slots {
		d, err := s.showDelivery(slot, number, &shown, !found)
		if errors.Is(err, queue.ErrNotFound) {
			continue // settled meanwhile
		}
		if err != nil {
			return queue.Entry{}, err
		}
		found = true
		parts = append(parts, s.waiting(slot, &d)...)
		if shown.Held = d.Held; d.Held {
			shown.Hold = d.Hold
		}
	}
	if !found {
		return queue.Entry{}, queue.ErrNotFound
	}
	slices.SortFunc(parts, func(a, b shownRecipient) int { return a.waiting.Index - b.waiting.Index })
	for _, p := range parts {
		shown.Message.Recipients = append(shown.Message.Recipients, p.recipient)
		shown.Waiting = append(shown.Waiting, p.waiting)
	}
	return shown, nil
}

type shownRecipient struct {
	recipient queue.Recipient
	waiting   queue.Waiting
}

func (s *Spool) showDelivery(
	slot index.Slot, number uint64, shown *queue.Entry, first bool,
) (record.Delivery, error) {
	if !first {
		d, h, err := s.readDelivery(slot, number)
		if err == nil {
			s.unpin(h.segment)
		}
		return d, err
	}
	d, m, err := s.readBoth(slot, number)
	if err != nil {
		return d, err
	}
	shown.Message, shown.Size = m.Envelope, int64(m.Size)
	shown.Message.ID, shown.Message.Recipients = formatID(number), nil
	return d, nil
}

// waiting is where the recipients of a delivery stand.
func (s *Spool) waiting(slot index.Slot, d *record.Delivery) []shownRecipient {
	s.mu.Lock()
	_, _, _, leased := s.index.Leased(slot)
	postponed, reason := s.index.Postponed(d.Destination)
	next := postponed
	s.mu.Unlock()
	if !d.AtOnce && d.Due.After(next) {
		next = d.Due
	}
	list := make([]shownRecipient, len(d.Recipients))
	for i := range d.Recipients {
		r := &d.Recipients[i]
		list[i] = shownRecipient{r.Recipient, queue.Waiting{
			State: r.State, Destination: d.Destination, Next: next, Leased: leased,
			Postponed: postponed, Reason: reason, Because: d.Because,
		}}
	}
	return list
}

// Total counts everything.
func (s *Spool) Total(ctx context.Context) (queue.Totals, error) {
	if err := s.begin(ctx); err != nil {
		return queue.Totals{}, err
	}
	defer s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	return queue.Totals{Messages: s.index.Messages(), Deliveries: s.index.Len(), Bytes: s.index.Bytes()}, nil
}

// Survey counts the mail by destination. It goes through the index once, and reads one
// message for each destination that it returns.
func (s *Spool) Survey(ctx context.Context, after string, most int) ([]queue.Destination, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.end()
	if most <= 0 {
		most = queue.DefaultMax
	}
	v := &index.Survey{After: after, Max: most}
	if err := s.countAll(ctx, v); err != nil {
		return nil, err
	}
	counts := v.List
	list := make([]queue.Destination, len(counts))
	for i, c := range counts {
		list[i] = queue.Destination{
			Name: c.Name, Deliveries: c.Deliveries, Held: c.Held, Leased: c.Leased,
			Bytes: c.Bytes, Oldest: s.arrival(c.Oldest), Postponed: c.Postponed, Reason: c.Reason,
		}
	}
	return list, nil
}

// countAll goes through the index. It gives the lock up again and again.
func (s *Spool) countAll(ctx context.Context, v *index.Survey) error {
	inPieces := func(some func() bool, added int) error {
		for more := true; more; {
			if err := ctx.Err(); err != nil {
				return err
			}
			v.List = slices.Grow(v.List, added) // rather than while the lock is held
			s.mu.Lock()
			more = some()
			s.mu.Unlock()
			if len(v.List) >= holdMax && len(v.List)/2 >= v.Max {
				v.Sort()
			}
		}
		return nil
	}
	if err := inPieces(func() bool { return s.index.Count(v, holdMax) }, holdMax); err != nil {
		return err
	}
	v.Sort()
	v.SeekOldest()
	return inPieces(func() bool { return s.index.Oldest(v, holdMax) }, 0)
}

// arrival is when a message arrived, zero where that cannot be read.
func (s *Spool) arrival(number uint64) time.Time {
	h, m, err := s.openMessage(number, false)
	if err != nil {
		return time.Time{}
	}
	s.unpin(h.segment)
	return m.Envelope.Arrived
}
