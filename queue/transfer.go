package queue

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// CopyOptions say what Copy takes along. The zero value is everything.
type CopyOptions struct {
	// What selects messages. A message is moved as a whole if one of its recipients
	// matches.
	What Selection

	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Copied counts what Copy found.
type Copied struct {
	// Messages are in the other queue now, and have left this one.
	Messages int

	// Busy is the number of messages that were left unchanged because a claimer has a
	// lease on a part of them, or because they were marked and it is unknown whether
	// they were sent. Copy may be able to move them later.
	Busy int

	// Unreadable cannot be read and are as they were.
	Unreadable int
}

// CopyReply is the text of the reply in the outcome of a recipient that Copy has moved, if
// the queue that it has left keeps outcomes. How the mail to the recipient ends is an
// outcome of the other queue.
const CopyReply = "moved to another queue"

// copyReason is the reason of the hold on which a message is while it moves.
const copyReason = "on its way to another queue"

// copyLease is how long the queues may take for one message, and copyGuard how long one
// that has arrived is kept back while its history is written.
const (
	copyLease = 10 * time.Minute
	copyGuard = time.Hour
)

// Copy moves messages from one queue to another, while claimers may work on both: no
// message is lost, and none is delivered by both. A message that is moving is on hold
// until it is in the other queue; if Copy ends before that, the next call continues
// with it. To prevent duplicates, a message without a key gets one, made from its old
// id, and the other queue must remember keys until then.
//
// Pending recipients are moved with their states, holds with their terms, and times of
// the next attempt are kept. Suspensions and postponements are not moved. A message
// gets a new id, and recipients may get another index. If the queue that it leaves keeps
// outcomes, it has one of each pending recipient that is Delivered with CopyReply. Copy goes through the list once;
// messages that are put meanwhile may be moved or not.
//
// It returns errors.ErrUnsupported if from does not implement Lister, TermHolder and
// Taker, or to does not implement TermHolder and Taker.
func Copy(ctx context.Context, to, from Queue, o CopyOptions) (n Copied, err error) {
	_, holds := As[TermHolder](from)
	_, takes := As[Taker](from)
	_, holdsThere := As[TermHolder](to)
	_, takesThere := As[Taker](to)
	if !holds || !takes || !holdsThere || !takesThere {
		return n, unsupported("copy")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	t := transfer{to: to, from: from, now: o.Now}
	err = Select(ctx, from, o.What, func(e *Entry, _ []int) error {
		moved, err := t.message(ctx, e.Message.ID)
		switch {
		case errors.Is(err, ErrNotFound): // it has left meanwhile
			return nil
		case errors.Is(err, ErrDamaged):
			n.Unreadable++
			return nil
		case err != nil:
			return err
		case moved:
			n.Messages++
		default:
			n.Busy++
		}
		return nil
	}, func(string) { n.Unreadable++ })
	return n, err
}

// transfer moves messages.
type transfer struct {
	to, from Queue
	now      func() time.Time
}

// message moves one message, unless somebody has a part of it in hand.
func (t *transfer) message(ctx context.Context, id string) (moved bool, err error) {
	e, err := Show(ctx, t.from, id)
	if err != nil {
		return false, err
	}
	if !e.Held {
		if err := HoldUntil(ctx, t.from, t.now(), id, Terms{Reason: copyReason}); err != nil {
			return false, err
		}
	}
	mine := !e.Held || e.Hold.Reason == copyReason
	taken, err := Take(ctx, t.from, t.now(), id, copyLease)
	if err == nil {
		free := taken.Leased == 0 && len(taken.Unreadable) == 0 &&
			!slices.ContainsFunc(taken.Deliveries, func(d Delivery) bool { return d.Interrupted })
		if free {
			// Nobody else can change it from here on.
			arrived := false
			if e, err = Show(ctx, t.from, id); err == nil {
				arrived, err = t.put(ctx, &e, taken.Deliveries, mine)
			}
			if err == nil {
				return true, t.leave(ctx, taken.Deliveries)
			}
			if arrived {
				return false, err // it stays on hold, for the other queue may have it
			}
		}
		if len(taken.Unreadable) > 0 {
			err = cmp.Or(err, taken.Unreadable[0].Err)
		}
		err = errors.Join(err, t.giveBack(ctx, &taken))
	}
	if mine {
		err = errors.Join(err, Release(ctx, t.from, id))
	}
	return false, err
}

// giveBack ends leases, so that nothing has changed.
func (t *transfer) giveBack(ctx context.Context, taken *Taken) error {
	var leases []Lease
	for i := range taken.Deliveries {
		leases = append(leases, taken.Deliveries[i].Lease)
	}
	for i := range taken.Unreadable {
		leases = append(leases, taken.Unreadable[i].Lease)
	}
	_, err := t.from.Extend(ctx, t.now(), leases, 0)
	return err
}

// leave has a message leave as if it were delivered, so that its key is remembered.
func (t *transfer) leave(ctx context.Context, list []Delivery) error {
	var batch []Settlement
	for i := range list {
		s := Settlement{Lease: list[i].Lease}
		for _, state := range list[i].States {
			s.Results = append(s.Results, Result{Recipient: state.Index, Outcome: Delivered, Reply: Reply{Text: CopyReply}})
		}
		batch = append(batch, s)
	}
	return settled(t.from.Settle(ctx, t.now(), batch))
}

func settled(list []Settled, err error) error {
	for i := range list {
		err = errors.Join(err, list[i].Err)
	}
	return err
}

// put puts a message in the other queue, as it stands in this one. If there is an error,
// the message may have arrived all the same, unless arrived is false.
func (t *transfer) put(ctx context.Context, e *Entry, list []Delivery, mine bool) (arrived bool, err error) {
	content, err := t.from.Open(ctx, e.Message.ID)
	if err != nil {
		return false, err
	}
	m := e.Message
	m.Content = content
	if m.Key == "" {
		m.Key = "copy of " + m.ID
	}
	now := t.now()
	held := e.Held && !mine
	history := held || slices.ContainsFunc(list, func(d Delivery) bool {
		return d.Warned || slices.ContainsFunc(d.States, func(s State) bool { return s.Attempts > 0 })
	}) || slices.ContainsFunc(e.Waiting, func(w Waiting) bool { return w.Because != "" || w.Next.After(now) })
	if history {
		m.NotBefore = now.Add(copyGuard) // no claimer has it before it is as it was
	}
	id, err := t.to.Put(ctx, now, &m)
	switch {
	case errors.Is(err, ErrDuplicate):
		return true, nil // moved before, and Copy ended before it left
	case errors.Is(err, ErrFull), errors.As(err, new(*MessageError)):
		return false, err
	case err != nil || !history:
		return true, err
	}
	if held {
		since := e.Hold.Since
		if since.IsZero() {
			err = Hold(ctx, t.to, id)
		} else {
			err = HoldUntil(ctx, t.to, since, id, e.Hold)
		}
		if err != nil {
			return true, err
		}
	}
	warned := make(map[string]bool)
	for i := range list {
		warned[list[i].Lease.Destination] = list[i].Warned
	}
	return true, t.restore(ctx, id, e.Waiting, warned)
}

// restore settles what has arrived as it was settled before: it has the same attempts,
// and waits for the same time.
func (t *transfer) restore(ctx context.Context, id string, waiting []Waiting, warned map[string]bool) error {
	type attempt struct {
		tried       time.Time
		destination string
	}
	tries := make(map[attempt][]Result)
	count := make(map[attempt][]int) // how often each was tried
	last := make(map[string]*Waiting)
	for i := range waiting { // the index is the position now
		w := &waiting[i]
		last[w.Destination] = w
		if w.Attempts > 0 {
			a := attempt{w.Tried, w.Destination}
			tries[a] = append(tries[a], Result{Recipient: i, Outcome: w.Outcome, Reply: w.Reply})
			count[a] = append(count[a], w.Attempts)
		}
	}
	for a, results := range tries {
		for k := slices.Max(count[a]); k > 0; k-- {
			var some []Result
			for i, r := range results {
				if count[a][i] >= k {
					some = append(some, r)
				}
			}
			s := Settlement{Results: some, NotBefore: t.now().Add(copyGuard)}
			if err := t.settle(ctx, id, a.destination, a.tried, s); err != nil {
				return err
			}
		}
	}
	for destination, w := range last {
		s := Settlement{Reason: w.Because, Warned: warned[destination]}
		now := t.now()
		if w.Next.After(now) {
			s.NotBefore = w.Next
		}
		if err := t.settle(ctx, id, destination, now, s); err != nil {
			return err
		}
	}
	return nil
}

// settle settles one delivery that has arrived, as of a time.
func (t *transfer) settle(ctx context.Context, id, destination string, tried time.Time, s Settlement) error {
	taken, err := Take(ctx, t.to, t.now(), id, copyLease, destination)
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && len(taken.Deliveries) == 0:
		return nil // somebody has flushed it, and a claimer has it
	case err != nil:
		return err
	}
	s.Lease = taken.Deliveries[0].Lease
	return settled(t.to.Settle(ctx, tried, []Settlement{s}))
}
