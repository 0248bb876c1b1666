package queuetest

import (
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func takeChecks() []check {
	return []check{
		{ruleL7, "what is not due is taken, and claimed by nobody else", needTake, takenEarly},
		{ruleL7, "what another has leased is not taken", needTake, takenWhileLeased},
		{ruleL7, "a lease that has ended is lost", needTake, takenAfterLease},
		{ruleL7, "only the destinations named", needTake, takenByName},
		{ruleL7, "what was taken can be settled, and comes back when its lease ends", needTake, takenAndSettled},
		{ruleL7, "a message on hold is taken and stays on hold", needTake | needHold, takenWhileHeld},
		{ruleL7, "a postponed destination's mail is taken", needTake | needPostpone, takenWhilePostponed},
		{ruleL7, "a message that is not there", needTake, takeNothing},
		{ruleL7, "an interrupted delivery says so", needTake, takenInterrupted},
	}
}

func (r *run) take(id string, destinations ...string) queue.Taken {
	r.Helper()
	got, err := queue.Take(r.ctx, r.q, r.now, id, queue.DefaultLease, destinations...)
	r.check("Take", err)
	return got
}

// wantTaken takes and compares the numbers.
func (r *run) wantTaken(id string, deliveries, leased int) []queue.Delivery {
	r.Helper()
	got := r.take(id)
	if len(got.Deliveries) != deliveries || got.Leased != leased || len(got.Unreadable) != 0 {
		r.Fatalf("Take = %+v, want %d deliveries and %d leased", got, deliveries, leased)
	}
	return got.Deliveries
}

func takenEarly(r *run) {
	m := full(r.now)
	m.NotBefore = r.now.Add(time.Hour)
	id := r.put(m)
	parts, err := queue.Split(m)
	r.check("Split", err)
	got := r.wantTaken(id, len(parts), 0)
	seen := 0
	for i, d := range got {
		if i > 0 && got[i-1].Lease.Destination >= d.Lease.Destination {
			r.Errorf("Take returned %s before %s", got[i-1].Lease.Destination, d.Lease.Destination)
		}
		var want []queue.Recipient
		for _, s := range d.States {
			want = append(want, m.Recipients[s.Index])
			seen++
		}
		if problem := differs(d.Message, *m, want); problem != "" || d.Message.ID != id || d.Size != m.Content.Size() {
			r.Errorf("Take: id %s, size %d, Message.%s", d.Message.ID, d.Size, problem)
		}
		if !r.same(d.Due, m.NotBefore) {
			r.Errorf("Due is %v, want %v", d.Due, m.NotBefore)
		}
	}
	if seen != len(m.Recipients) {
		r.Errorf("Take returned %d recipients, want %d", seen, len(m.Recipients))
	}
	r.wantTaken(id, 0, len(parts))
	r.advance(queue.DefaultLease - time.Minute)
	r.none("of what was taken")
}

func takenWhileLeased(r *run) {
	id := r.put(r.message("a@one.example", "b@two.example"))
	d := r.first(queue.ClaimOptions{Destinations: []string{"one.example"}})
	if got := r.wantTaken(id, 1, 1); got[0].Lease.Destination != "two.example" {
		r.Errorf("Take returned the delivery to %s, which is leased", got[0].Lease.Destination)
	}
	r.settle(deferred(d, r.now.Add(time.Hour)))
	r.wantTaken(id, 1, 1)
}

func takenAfterLease(r *run) {
	id := r.put(r.message())
	d := r.first(queue.ClaimOptions{Lease: time.Minute})
	r.advance(time.Minute)
	r.wantTaken(id, 1, 0)
	r.wantLost(d, "after the delivery was taken")
}

func takenByName(r *run) {
	id := r.put(r.message("a@one.example", "b@two.example", "c@three.example"))
	got := r.take(id, "two.example", "none.example", "three.example")
	n := of(got.Deliveries, destinationOf)
	if len(got.Deliveries) != 2 || n["two.example"] != 1 || n["three.example"] != 1 || got.Leased != 0 {
		r.Errorf("Take of two and three returned %v", n)
	}
	if d := r.one(); d.Lease.Destination != "one.example" {
		r.Errorf("Claim returned the delivery to %s, which was taken", d.Lease.Destination)
	}
}

func takenAndSettled(r *run) {
	m := r.message("a@one.example", "b@one.example")
	m.NotBefore = r.now.Add(100 * time.Hour)
	id := r.put(m)
	d := r.wantTaken(id, 1, 0)[0]
	d.Lease, _ = r.extend(d.Lease, time.Minute)
	r.advance(time.Minute)
	r.none("of what is not due, when its lease has ended")
	d = r.wantTaken(id, 1, 0)[0]
	s := queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: 0, Outcome: queue.Failed}}, NotBefore: m.NotBefore}
	s.Create = []*queue.Message{r.message("bounce@bounce.example")}
	r.settle(s)
	if got := r.one(); got.Lease.Destination != "bounce.example" {
		r.Errorf("Claim returned the delivery to %s, want the bounce", got.Lease.Destination)
	}
	if d := r.wantTaken(id, 1, 0)[0]; len(d.States) != 1 || d.States[0].Index != 1 {
		r.Errorf("the states are %+v, want index 1", d.States)
	}
}

func takenWhileHeld(r *run) {
	id := r.put(r.message())
	r.hold(id)
	d := r.wantTaken(id, 1, 0)[0]
	r.settle(deferred(d, r.now))
	r.none("after the settlement of what was taken on hold")
	r.wantTaken(id, 1, 0)
	r.advance(queue.DefaultLease)
	r.none("when the lease of what was taken on hold has ended")
	r.release(id)
	r.one()
}

func takenWhilePostponed(r *run) {
	id := r.put(r.message("a@dead.example"))
	r.postpone("dead.example", r.now.Add(time.Hour))
	r.settle(all(r.wantTaken(id, 1, 0)[0], queue.Failed))
	r.wantGone(id)
}

func takeNothing(r *run) {
	r.wantNotFound("Take", func() error {
		_, err := queue.Take(r.ctx, r.q, r.now, "nosuchmessage", time.Minute)
		return err
	})
	id := r.put(r.message())
	r.settle(all(r.one(), queue.Delivered))
	r.wantNotFound("Take", func() error {
		_, err := queue.Take(r.ctx, r.q, r.now, id, time.Minute)
		return err
	})
}

func takenInterrupted(r *run) {
	id := r.put(r.once())
	r.mark(r.first(queue.ClaimOptions{Lease: time.Minute}))
	r.advance(time.Minute)
	if d := r.wantTaken(id, 1, 0)[0]; !d.Interrupted {
		r.Errorf("Interrupted is not set for what was marked, and then taken")
	}
}
