package queuetest

import (
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func holdChecks() []check {
	return []check{
		{ruleA3, "a message on hold is not claimed", needHold, held},
		{ruleA3, "a lease outlives a hold", needHold, heldWhileLeased},
		{ruleA3, "a hold survives a crash", needHold | needCrash, heldAcrossCrash},
		{ruleA3, "a message that is not there", needHold, holdNothing},
		{ruleA3, "the list shows it", needHold | needList, heldInList},
		{ruleL6, "at most once: a mark on hold is told of after the release", needHold, markedWhileHeld},
		{ruleA4, "a dropped message is gone", needDrop, dropped},
		{ruleA4, "a dropped message's leases are lost", needDrop, droppedWhileLeased},
		{ruleA4, "a message on hold can be dropped", needDrop | needHold, droppedWhileHeld},
		{ruleA4, "a drop survives a crash", needDrop | needCrash, droppedAcrossCrash},
	}
}

func (r *run) hold(id string) {
	r.Helper()
	r.check("Hold", queue.Hold(r.ctx, r.q, id))
}

func (r *run) release(id string) {
	r.Helper()
	r.check("Release", queue.Release(r.ctx, r.q, id))
}

func held(r *run) {
	id := r.put(r.message("a@one.example", "b@two.example"))
	other := r.put(r.message())
	r.hold(id)
	r.hold(id)
	if d := r.one(); d.Lease.Message != other {
		r.Errorf("Claim returned %s, want %s: the other is on hold", d.Lease.Message, other)
	}
	r.advance(24 * time.Hour)
	if got := r.due(); len(got) != 1 {
		r.Errorf("a day later Claim returned %s, want the one that is not on hold", describe(got))
	}
	r.release(id)
	if got := of(r.due(), messageOf); got[id] != 2 {
		r.Errorf("after the release Claim returned %v, want both deliveries", got)
	}
	r.release(id)
}

func heldWhileLeased(r *run) {
	id := r.put(r.message("a@one.example", "b@one.example"))
	d := r.one()
	r.hold(id)
	if _, err := r.extend(d.Lease, time.Minute); err != nil {
		r.Errorf("Extend of a lease from before the hold = %v", err)
	}
	r.settle(queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: 0, Outcome: queue.Delivered}, {Recipient: 1}}})
	r.none("after the settlement of a message on hold")
	r.release(id)
	if d := r.one(); len(d.States) != 1 || d.States[0].Index != 1 || d.States[0].Attempts != 1 {
		r.Errorf("after the release the states are %+v, want index 1 with one attempt", d.States)
	}
}

func heldAcrossCrash(r *run) {
	id := r.put(r.message())
	r.hold(id)
	r.crash()
	r.none("after a crash, on hold")
	r.release(id)
	r.crash()
	r.one()
}

func holdNothing(r *run) {
	r.wantNotFound("Hold", func() error { return queue.Hold(r.ctx, r.q, "nosuchmessage") })
	r.wantNotFound("Release", func() error { return queue.Release(r.ctx, r.q, "nosuchmessage") })
	id := r.put(r.message())
	r.settle(all(r.one(), queue.Delivered))
	r.wantNotFound("Hold", func() error { return queue.Hold(r.ctx, r.q, id) })
}

func heldInList(r *run) {
	id := r.put(r.message())
	for _, want := range []bool{false, true, false} {
		if want {
			r.hold(id)
		} else {
			r.release(id)
		}
		if e := r.entry(id); e.Held != want {
			r.Errorf("Held is %t, want %t", e.Held, want)
		}
	}
}

func (r *run) drop(id string) {
	r.Helper()
	r.check("Drop", queue.Drop(r.ctx, r.q, id))
}

func dropped(r *run) {
	id := r.put(r.message("a@one.example", "b@two.example"))
	other := r.put(r.message())
	r.drop(id)
	r.wantGone(id)
	r.wantNotFound("Drop", func() error { return queue.Drop(r.ctx, r.q, id) })
	if d := r.one(); d.Lease.Message != other {
		r.Errorf("Claim returned %s, want %s: the other was dropped", d.Lease.Message, other)
	}
}

func droppedWhileLeased(r *run) {
	id := r.put(r.message("a@one.example", "b@two.example"))
	got := r.some(2)
	r.settle(deferred(got[1], r.now.Add(time.Hour)))
	r.drop(id)
	r.wantLost(got[0], "after the message was dropped")
	r.wantGone(id)
	r.advance(time.Hour)
	r.none("after the message was dropped")
}

func droppedWhileHeld(r *run) {
	id := r.put(r.message())
	r.hold(id)
	r.drop(id)
	r.wantNotFound("Release", func() error { return queue.Release(r.ctx, r.q, id) })
	r.none("after the message was dropped")
}

func droppedAcrossCrash(r *run) {
	id := r.put(r.message())
	kept := r.put(r.message())
	r.drop(id)
	r.crash()
	r.wantGone(id)
	if d := r.one(); d.Lease.Message != kept {
		r.Errorf("after a crash Claim returned %s, want %s", d.Lease.Message, kept)
	}
}
