package disk

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// claimed is what a lease keeps in memory of its delivery.
type claimed struct {
	record record.Delivery
	keyed  bool // the message has a key, for which this stands
	key    keyHash
	name   string // the key itself
}

// noteOf is what a lease keeps of a delivery and its message.
func noteOf(d *record.Delivery, m *record.Message) *claimed {
	c := &claimed{record: *d}
	if e := &m.Envelope; e.Key != "" {
		c.keyed, c.key, c.name = true, hashKey(e.Tenant, e.Key), e.Key
	}
	return c
}

// pick is a delivery that a claim has leased and not read yet.
type pick struct {
	slot  index.Slot
	entry index.Entry
	lease queue.Lease
}

// Claim leases deliveries that are due.
func (s *Spool) Claim(ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
	if err := s.begin(ctx); err != nil {
		return queue.Claimed{}, err
	}
	defer s.end()
	found := queue.Claimed{Seen: s.changes.Count()}
	if err := s.endHolds(ctx, now); err != nil {
		return queue.Claimed{}, err
	}
	var picks []pick
	picks, found.Next = s.pick(now.Round(0), want.WithDefaults())
	err := s.readPicks(now, picks, &found)
	s.usedPicks(picks)
	return found, err
}

// maxPicks is for how many picks a claim leaves the next one room.
const maxPicks = 4 * holdMax

// usedPicks keeps the memory of picks for the next claim.
func (s *Spool) usedPicks(picks []pick) {
	if cap(picks) > maxPicks {
		return
	}
	clear(picks)
	s.claims.Lock()
	defer s.claims.Unlock()
	s.picks = picks[:0]
}

// readPicks reads leased deliveries into the result of the claim. Deliveries for which
// there is no descriptor, or that could not be written in a readable place because of a
// lack of room, become due again at once. If no delivery could be read, or the device has
// failed, it returns the error.
func (s *Spool) readPicks(now time.Time, picks []pick, found *queue.Claimed) error {
	var exhausted error
	if len(picks) > 0 {
		found.Deliveries = make([]queue.Delivery, 0, len(picks))
	}
	for i := range picks {
		p := &picks[i]
		s.awaitMark(p.slot)
		d, m, err := s.readBoth(p.slot, p.entry.Message)
		switch {
		case errors.Is(err, queue.ErrNotFound): // dropped meanwhile
		case vfs.IsExhausted(err), vfs.IsFull(err):
			s.giveUp(p)
			exhausted = err
		case errors.Is(err, ErrFailed):
			return err
		case err != nil:
			found.Unreadable = append(found.Unreadable, queue.Unreadable{Lease: p.lease, Err: err})
		case s.keep(p, noteOf(&d, &m)):
			found.Deliveries = append(found.Deliveries, deliveryOf(p, &d, &m))
		}
	}
	if exhausted != nil && len(found.Deliveries)+len(found.Unreadable) > 0 {
		found.Next = now // for the others
		return nil
	}
	return exhausted
}

// pick leases what the index finds.
func (s *Spool) pick(now time.Time, want queue.ClaimOptions) ([]pick, time.Time) {
	s.claims.Lock()
	defer s.claims.Unlock()
	s.mu.Lock()
	claim := s.index.NewClaim(now, index.Bounds{
		Max: want.Max, Destinations: want.Destinations, Except: want.Except,
		ExceptTenants:  want.ExceptTenants,
		PerDestination: want.PerDestination, PerTenant: want.PerTenant, Owner: want.Owner,
	})
	s.mu.Unlock()
	picks := s.picks
	s.picks = nil
	for more := true; more; {
		picks = slices.Grow(picks, min(holdMax, want.Max-len(picks)))
		s.mu.Lock()
		more = claim.Some(holdMax, func(slot index.Slot) {
			picks = append(picks, s.lease(slot, s.index.Get(slot), now.Add(want.Lease)))
		})
		s.mu.Unlock()
	}
	s.forgetLoose()
	next, _ := claim.Next()
	s.mu.Lock()
	_, end, any := s.holdEnds.First()
	s.mu.Unlock()
	if any {
		if t := time.UnixMicro(end).UTC(); next.IsZero() || t.Before(next) {
			next = t
		}
	}
	return picks, next
}

// forgetLoose forgets destinations and tenants that have gone while their numbers were
// needed.
func (s *Spool) forgetLoose() {
	for more := true; more; {
		s.mu.Lock()
		more = s.index.Loose(holdMax)
		s.mu.Unlock()
	}
}

// lease leases a delivery. The lock is held.
func (s *Spool) lease(slot index.Slot, e index.Entry, until time.Time) pick {
	s.lastToken++
	p := pick{slot: slot, entry: e, lease: queue.Lease{
		Message: formatID(e.Message), Destination: e.Destination, Token: s.lastToken, Until: until,
	}}
	s.index.Lease(slot, p.lease.Token, p.lease.Until, nil)
	return p
}

// giveUp ends the lease of a delivery that a claim could not read, unless it is lost.
func (s *Spool) giveUp(p *pick) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds(p.slot, p.lease.Token) {
		s.index.Unlease(p.slot)
	}
}

// holds reports whether a lease is not lost. No two leases have one token. The lock is
// held.
func (s *Spool) holds(slot index.Slot, token uint64) bool {
	have, _, _, leased := s.index.Leased(slot)
	return leased && have == token
}

// keep notes the record with its lease, for Open and Settle. It reports false
// where the lease was lost meanwhile.
func (s *Spool) keep(p *pick, note *claimed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.holds(p.slot, p.lease.Token) {
		return false
	}
	e := s.index.Get(p.slot)
	if home := s.segments.list[e.Home]; home.number != note.record.Home.Segment || e.Record != p.entry.Record {
		return true // moved or changed since it was read; it is read again when needed
	}
	s.index.Note(p.slot, note)
	return true
}

// leased returns what the lease of a delivery keeps about it, or nil. The lock is held.
func (s *Spool) leased(slot index.Slot) *claimed {
	_, _, note, _ := s.index.Leased(slot)
	c, _ := note.(*claimed)
	return c
}

// rewrite makes a ticket that replaces a delivery's record. The delivery must have been
// acquired. If it is not rescheduled, its due time is unchanged, except by records in
// line. The lock is held.
func (s *Spool) rewrite(slot index.Slot, d *record.Delivery, rescheduled bool) *ticket {
	if !rescheduled {
		s.update(slot, d)
	}
	f := frame{}
	f.Kind, f.Head = record.KindDelivery, d.Append(make([]byte, 0, headRoom/2))
	e := entryOf(d)
	t := newTicket()
	t.frames = append(t.frames, f)
	t.apply = func(_ *hold, g *segment, at []uint32) {
		e.Home, e.Record = s.index.Get(slot).Home, g.place(at[0])
		s.index.Set(&e)
		s.ends++
		g.cost += index.DeliveryCost
	}
	return t
}

func deliveryOf(p *pick, d *record.Delivery, m *record.Message) queue.Delivery {
	out := queue.Delivery{
		Lease: p.lease, Message: m.Envelope, Size: int64(m.Size), Due: d.Due,
		Warned: d.Warned, Interrupted: d.Marked,
		States: make([]queue.State, len(d.Recipients)),
	}
	out.Message.ID = p.lease.Message
	out.Message.Recipients = make([]queue.Recipient, len(d.Recipients))
	for i := range d.Recipients {
		out.Message.Recipients[i], out.States[i] = d.Recipients[i].Recipient, d.Recipients[i].State
	}
	return out
}
