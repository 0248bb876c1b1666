package disk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// claim leases deliveries of this owner and settles most of them.
func (w *owner) claim(s *Spool) error {
	ctx := context.Background()
	c, err := s.Claim(ctx, w.now, queue.ClaimOptions{Max: 1 + w.rng.IntN(4), Lease: time.Hour,
		Destinations: w.destinations()})
	if w.refused(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, u := range c.Unreadable {
		if !w.refused(u.Err) {
			return fmt.Errorf("%s is unreadable: %w", u.Lease.Message, u.Err)
		}
		if err := w.keep(s, u.Lease); err != nil {
			return err
		}
	}
	var batch []queue.Settlement
	var created [][]*mail
	w.flight = nil
	for i := range c.Deliveries {
		d := &c.Deliveries[i]
		if err := w.delivery(s, d); err != nil {
			return err
		}
		w.leases = append(w.leases, d.Lease)
		if w.rng.IntN(6) == 0 {
			if err := w.keep(s, d.Lease); err != nil {
				return err
			}
			continue
		}
		b, list := w.settlement(d)
		batch, created = append(batch, b), append(created, list)
	}
	done, err := s.Settle(ctx, w.now, batch)
	if err != nil {
		return err
	}
	failed := error(nil)
	for i := range done {
		if err := w.settled(s, &batch[i], &done[i], created[i]); err != nil {
			failed = err
		}
	}
	if failed == nil {
		w.flight = nil
	}
	return failed
}

// keep gives a lease back, by having it end in the past.
func (w *owner) keep(s *Spool, l queue.Lease) error {
	list, err := s.Extend(context.Background(), w.now, []queue.Lease{l}, -time.Second)
	if err != nil {
		return err
	}
	return list[0].Err
}

// delivery checks what was claimed.
func (w *owner) delivery(s *Spool, d *queue.Delivery) error {
	id, at := d.Lease.Message, d.Lease.Destination
	m := w.mail[id]
	if m == nil {
		return fmt.Errorf("claimed %s, which is not mine", id)
	}
	m.note("%d: %s claimed", w.steps, at)
	v := m.attempts[at]
	switch {
	case m.gone || v[len(v)-1] == ended:
		return fmt.Errorf("claimed %s at %s, which has ended: %v", id, at, v)
	case d.States[0].Attempts != v[len(v)-1]:
		return fmt.Errorf("claimed %s at %s with %d attempts, want %v", id, at, d.States[0].Attempts, v)
	case m.held[len(m.held)-1]:
		return fmt.Errorf("claimed %s, which is on hold", id)
	case m.marks[at] == marked && !d.Interrupted, m.marks[at] == unmarked && d.Interrupted:
		return fmt.Errorf("%s at %s: interrupted is %t, the mark is %d", id, at, d.Interrupted, m.marks[at])
	}
	if m.once && w.rng.IntN(2) == 0 {
		m.marks[at] = max(m.marks[at], perhapsMarked)
		switch err := s.Mark(context.Background(), []queue.Lease{d.Lease}); {
		case err == nil:
			m.marks[at] = marked
		case !w.refused(err):
			return err
		}
	}
	text, err := readContent(s, id)
	if err == nil && text != m.text {
		return fmt.Errorf("content of %s: %q, want %q", id, text, m.text)
	}
	return w.tell(err)
}

// settlement decides at random what becomes of a delivery.
func (w *owner) settlement(d *queue.Delivery) (queue.Settlement, []*mail) {
	m, at := w.mail[d.Lease.Message], d.Lease.Destination
	b := queue.Settlement{Lease: d.Lease, NotBefore: w.now.Add(time.Duration(w.rng.IntN(3)) * time.Minute)}
	v := m.attempts[at]
	after := v[len(v)-1]
	result := queue.Result{Recipient: d.States[0].Index, Reply: queue.Reply{Code: 451, Text: fmt.Sprint("try ", after)}}
	var list []*mail
	switch w.rng.IntN(5) {
	case 0:
		result.Outcome, after = queue.Deferred, after+1
		b.Results = []queue.Result{result}
	case 1: // given back
	default:
		result.Outcome, after = queue.Delivered, ended
		if w.rng.IntN(2) == 0 {
			result.Outcome = queue.Failed
			for range 1 + w.rng.IntN(2) { // reports
				q, nm := w.message()
				b.Create = append(b.Create, q)
				list = append(list, nm)
			}
		}
		b.Results = []queue.Result{result}
	}
	if len(b.Results) > 0 {
		m.attempts[at] = append(v, after)
	}
	f := settlementUnder{mail: m, destination: at, after: after}
	for _, nm := range list {
		f.texts = append(f.texts, nm.text)
	}
	if len(list) > 0 {
		w.flight = append(w.flight, f)
	}
	m.marks[at] = min(m.marks[at], perhapsMarked) // from now on the record may say so
	return b, list
}

// settled notes the answer to a settlement.
func (w *owner) settled(s *Spool, b *queue.Settlement, r *queue.Settled, list []*mail) error {
	m, at := w.mail[b.Lease.Message], b.Lease.Destination
	m.note("%d: %s settled %v, %d created: %v", w.steps, at, b.Results, len(b.Create), r.Err)
	if errors.Is(r.Err, queue.ErrLeaseLost) {
		return fmt.Errorf("the lease of %s at %s is lost", b.Lease.Message, at)
	}
	if w.refused(r.Err) {
		if len(b.Results) > 0 {
			w.takeBack(m, at)
		}
		for _, nm := range list {
			w.no[nm.text] = !w.unsure
		}
		w.answered(m, at)
		return w.keep(s, b.Lease)
	}
	if r.Err != nil {
		return r.Err
	}
	w.answered(m, at)
	if r.NoRoom { // who has failed stays
		w.takeBack(m, at)
		for _, nm := range list {
			w.no[nm.text] = !w.unsure
		}
		return nil
	}
	if len(b.Results) > 0 && b.Results[0].Outcome == queue.Deferred {
		w.inMemory(s, m, at)
	}
	for i, nm := range list {
		if err := w.came(r.Created[i], nm); err != nil {
			return err
		}
	}
	if len(list) > 0 {
		v := m.attempts[at]
		m.attempts[at] = v[len(v)-1:]
	}
	return nil
}

// takeBack takes back what a settlement would have made of a delivery.
func (w *owner) takeBack(m *mail, at string) {
	v := m.attempts[at]
	if w.unsure {
		m.attempts[at] = append(v, v[len(v)-2])
		return
	}
	m.attempts[at] = v[:len(v)-1]
}

// inMemory takes back that an attempt was counted, where there was no room to
// record it.
func (w *owner) inMemory(s *Spool, m *mail, at string) {
	e, err := s.Show(context.Background(), m.id)
	if err != nil {
		return
	}
	v := m.attempts[at]
	for _, r := range e.Waiting {
		if r.Destination == at && len(v) > 1 && r.Attempts == v[len(v)-2] && r.Attempts != v[len(v)-1] {
			m.attempts[at] = v[:len(v)-1]
		}
	}
}

// answered takes a settlement out of those under way.
func (w *owner) answered(m *mail, at string) {
	for i, f := range w.flight {
		if f.mail == m && f.destination == at {
			w.flight = append(w.flight[:i:i], w.flight[i+1:]...)
			return
		}
	}
}
