package delivery

import (
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/sched"
)

// decide does what the scheduler says. The caller holds r.mu.
func (r *run) decide() {
	if sh := r.nextShipment(); sh != nil {
		r.workers.Go(func() { r.attend(sh) })
	}
}

// nextShipment does what the scheduler says, but leaves one attempt to the caller, who holds
// r.mu: nil where there is none.
func (r *run) nextShipment() (mine *shipment) {
	now, out := time.Now(), &r.out
	r.sched.Stop(now, !r.agent.events.room())
	r.sched.Decide(now, out)
	for _, id := range out.Route {
		r.askFor(r.parts[id])
	}
	for i := range out.Begin {
		sh := r.shipment(&out.Begin[i])
		if mine == nil {
			mine = sh
			continue
		}
		r.workers.Go(func() { r.attend(sh) })
	}
	r.giveBack(now, out.Back, out.Lift)
	if out.ToClaim {
		claim := out.Claim
		r.claim = &claim
		r.stir.set()
	}
	for _, n := range out.Trouble {
		r.tellTrouble(n)
	}
	r.arm(now, out.Wake)
	return mine
}

func (r *run) shipment(b *sched.Begin) *shipment {
	sh := &shipment{ship: b.Ship, site: b.Site}
	if len(b.Mail) == 1 {
		sh.parts = sh.one[:0]
	}
	for _, id := range b.Mail {
		sh.parts = append(sh.parts, r.parts[id])
	}
	return sh
}

// attend makes attempts as long as there are any to make.
func (r *run) attend(sh *shipment) {
	for sh != nil {
		sh = r.ship(sh)
	}
}

// arm has the scheduler called at a time; zero is never. A time that is armed for
// sooner stays: the call will be in vain, and costs less than to change it. The
// caller holds r.mu.
func (r *run) arm(now, at time.Time) {
	if at.IsZero() || r.ended || !r.armed.IsZero() && !at.Before(r.armed) {
		return
	}
	r.armed = at
	if r.timer == nil {
		r.timer = time.AfterFunc(at.Sub(now), r.wakeUp)
		return
	}
	r.timer.Reset(at.Sub(now))
}

func (r *run) wakeUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = time.Time{}
	if !r.ended {
		r.decide()
	}
}

func (r *run) stopTimer() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
}

// inform tells the scheduler something, and does what it says.
func (r *run) inform(what func(s *sched.Scheduler, now time.Time)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what(r.sched, time.Now())
	r.decide()
}
