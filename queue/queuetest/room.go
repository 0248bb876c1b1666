package queuetest

import (
	"errors"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func roomChecks() []check {
	return []check{
		{ruleS5, "without room for a report what was delivered is recorded, and who failed stays", needFull, reportWithoutRoom},
	}
}

// reportWithoutRoom settles a delivery of which one recipient has it, one failed and one
// is deferred, while there is no room for the report. A queue may find some all the
// same, refuse the settlement, or record it in part; then all goes on when there is room.
func reportWithoutRoom(r *run) {
	id := r.put(r.message("has@one.example", "failed@one.example", "later@one.example"))
	d := r.one()
	settlement := func(d queue.Delivery, outcomes ...queue.Outcome) queue.Settlement {
		s := queue.Settlement{Lease: d.Lease, Warned: true}
		for _, state := range d.States {
			s.Results = append(s.Results, queue.Result{Recipient: state.Index, Outcome: outcomes[state.Index]})
		}
		report := r.message("sender@report.example")
		report.Content = queue.Bytes(make([]byte, 8<<20))
		s.Create = []*queue.Message{report}
		return s
	}
	s := settlement(d, queue.Delivered, queue.Failed, queue.Deferred)
	r.check("taking the room away", r.in.Full(true))
	got := r.trySettle(s)
	if got.Err != nil {
		r.refusedWithoutRoom(d, s, got)
		got = r.settle(s)
		if got.NoRoom {
			r.Errorf("NoRoom is set of a settlement for which there is room")
		}
	}
	if got.NoRoom {
		r.recordedInPart(id, got)
		d = r.one()
		s = settlement(d, queue.Delivered, queue.Failed, queue.Deferred)
		got = r.settle(s)
	} else {
		r.check("giving the room back", r.in.Full(false))
	}
	if got.NoRoom || len(got.Created) != 1 {
		r.Fatalf("Settle = %+v, want one message created", got)
	}
	var left []string
	for _, d := range r.due() {
		for _, to := range d.Message.Recipients {
			left = append(left, to.Address)
		}
	}
	if len(left) != 2 {
		r.Errorf("after a settlement with its report %q wait, want who was deferred and the report", left)
	}
}

// refusedWithoutRoom checks that a settlement that was refused has changed nothing, and
// gives the room back.
func (r *run) refusedWithoutRoom(d queue.Delivery, s queue.Settlement, got queue.Settled) {
	r.Helper()
	if !errors.Is(got.Err, queue.ErrFull) {
		r.Errorf("Settle without room = %v, want ErrFull", got.Err)
	}
	r.check("giving the room back", r.in.Full(false))
	r.wantUnsettled(d, queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: len(s.Results)}}},
		func(err error) bool { return errors.As(err, new(*queue.ResultError)) }, "after a settlement without room")
}

// recordedInPart checks what a settlement has recorded that answers NoRoom, and gives the
// room back.
func (r *run) recordedInPart(id string, got queue.Settled) {
	r.Helper()
	if len(got.Created) > 0 {
		r.Errorf("NoRoom is set, and Created is %q", got.Created)
	}
	r.advance(time.Minute - time.Millisecond)
	r.none("less than a minute after a settlement without room for its report")
	r.check("giving the room back", r.in.Full(false))
	if r.can&needReopen != 0 {
		r.reopen()
	}
	r.advance(time.Hour)
	list := r.due()
	if len(list) != 1 || list[0].Lease.Message != id || len(list[0].States) != 2 {
		r.Fatalf("after a settlement without room for its report %s, want who failed and who was deferred", describe(list))
	}
	d := list[0]
	if failed := (queue.State{Index: 1}); d.States[0] != failed {
		r.Errorf("who failed is %+v, want %+v: as before", d.States[0], failed)
	}
	if later := d.States[1]; later.Index != 2 || later.Attempts != 1 || later.Outcome != queue.Deferred {
		r.Errorf("who was deferred is %+v, want one attempt", later)
	}
	if d.Warned {
		r.Errorf("Warned is set, and the sender was told nothing")
	}
	r.settle(queue.Settlement{Lease: d.Lease})
}
