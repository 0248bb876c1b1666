package delivery

import (
	"context"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// lifted is a destination whose mail is no longer to be kept back: all of it, or
// no more than a few deliveries for the site's next attempts.
type lifted struct {
	kept
	destination string
	site        *site // where no more than few are wanted
	few         int
}

// lift lets up to n destinations that were kept back for a site be claimed. The
// caller holds r.mu.
func (r *run) lift(s *site, n int) {
	for destination, k := range s.kept {
		if n--; n < 0 {
			break
		}
		delete(s.kept, destination)
		r.lifted = append(r.lifted, lifted{kept: k, destination: destination})
	}
	if len(r.lifted) > 0 {
		r.room.set()
	}
}

// leave takes a delivery out of a site that its destination no longer leads to.
// What was kept back there, or left out of a claim, for want of room at the site
// is to be claimed: it goes elsewhere too, and no end of an attempt here would
// let it go.
func (r *run) leave(s *site, destination string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.claimed--
	if k, ok := s.kept[destination]; ok {
		delete(s.kept, destination)
		r.lifted = append(r.lifted, lifted{kept: k, destination: destination})
		r.room.set()
	}
	if s.skipped && !s.full() {
		s.skipped = false
		r.room.set()
	}
}

// fewKept is of how many destinations at most a few deliveries each are claimed.
const fewKept = 4

// refill gives a site mail of the destinations that were kept back for it. Where
// they are few, or the site is slow, it gets as many deliveries as it has room
// for, and the rest stays where it is; where they are many they are let go, less
// those that were let go a moment ago and are on their way. The caller holds
// r.mu.
func (r *run) refill(s *site, now time.Time) {
	if now.Sub(s.refilled) > minCrowded {
		s.coming = 0
	}
	n := min(s.ahead()-s.claimed-s.coming, len(s.kept))
	if n <= 0 {
		return
	}
	s.refilled = now
	if s.slow() || len(s.kept) <= fewKept {
		n = min(n, fewKept)
		room := s.ahead() - s.claimed - s.coming
		from := len(r.lifted)
		r.lift(s, n)
		for i := from; i < len(r.lifted); i++ {
			r.lifted[i].site, r.lifted[i].few = s, (room+n-1)/n
			s.coming += r.lifted[i].few
		}
		return
	}
	s.coming += n
	r.lift(s, n)
}

// release tells the queue of destinations that are no longer to be kept back.
// What it cannot be told is claimed when its time is over.
func (r *run) release(ctx context.Context) {
	r.mu.Lock()
	list := r.lifted
	r.lifted = nil
	r.mu.Unlock()
	if len(list) == 0 {
		return
	}
	now := r.agent.clock.now()
	var lift []queue.Postponement
	var flush []queue.Selection
	for _, l := range list {
		if l.paused {
			lift = append(lift, queue.Postponement{Destination: l.destination})
		}
		if l.parked {
			lift = append(lift, queue.Postponement{Destination: l.destination, Owner: r.owner})
		}
		if l.single {
			flush = append(flush, queue.Selection{Destination: l.destination})
		}
	}
	if len(lift) > 0 && !r.postponed(ctx, lift) {
		return
	}
	if len(flush) > 0 {
		_, _ = queue.Flush(ctx, r.queue, now, flush...)
	}
	for _, l := range list {
		if !l.single && l.site != nil {
			r.claimFew(ctx, l)
		}
	}
}

// postponed has the queue postpone, and reports whether it has.
func (r *run) postponed(ctx context.Context, list []queue.Postponement) bool {
	err := queue.Postpone(ctx, r.queue, r.agent.clock.now(), list...)
	if ctx.Err() == nil {
		r.heed(postponing, err)
	}
	return err == nil
}

// unpark lifts all that was postponed for want of room here.
func (r *run) unpark() {
	_ = queue.Postpone(context.WithoutCancel(r.work), r.queue, r.agent.clock.now(), queue.Postponement{Owner: r.owner})
}

// claimFew claims some deliveries of a destination, and parks the others.
func (r *run) claimFew(ctx context.Context, l lifted) {
	now := r.agent.clock.now()
	found, err := r.queue.Claim(ctx, now, queue.ClaimOptions{
		Max: l.few, Lease: leaseLength, Destinations: []string{l.destination}, Owner: r.owner,
	})
	if err != nil {
		return
	}
	until := now.Add(maxCrowded)
	more := !found.Next.IsZero() && !found.Next.After(now) &&
		r.postponed(ctx, []queue.Postponement{{Destination: l.destination, Until: until, Owner: r.owner}})
	s := l.site
	r.mu.Lock()
	s.coming = max(s.coming-l.few, 0) + len(found.Deliveries)
	if more && s.kept != nil {
		k := s.kept[l.destination]
		k.until, k.parked = until, true
		s.kept[l.destination] = k
	}
	if len(found.Deliveries) == 0 {
		r.refill(s, time.Now())
	}
	r.mu.Unlock()
	r.take(found.Deliveries)
	r.report(found.Unreadable)
}
