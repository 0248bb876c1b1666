package queuetest

import (
	"math/rand/v2"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// limitChecks are about limits that claimers have in common.
func limitChecks() []check {
	return []check{
		{ruleW4, "a share with a claim and one without", needLimits, shareWithClaim},
		{ruleW4, "what a claimer has counts until it has it no more", needLimits, shareStillHad},
		{ruleW4, "who is silent counts for a while", needLimits, shareOfSilent},
		{ruleW4, "in sum never more than the limit", needLimits, sharesInSum},
		{ruleW4, "of all handles together", needLimits | needShare, sharesOfHandles},
		{ruleW4, "limits of different names have nothing to do with each other", needLimits, sharesOfTwo},
		{ruleW5, "equal parts", needLimits, equalShares},
		{ruleW5, "who wants less leaves the rest to others", needLimits, unequalShares},
		{ruleW5, "what cannot be divided goes around", needLimits, sharesInTurn},
		{ruleW5, "who needs nothing leaves all to the others", needLimits, shareGivenBack},
	}
}

// sharer is a claimer that keeps to what it is answered.
type sharer struct {
	queue.LimitRequest
	until time.Time
}

// ask asks for a share for a claimer, which goes by it then.
func (r *run) ask(s *sharer) {
	r.Helper()
	if !r.now.Before(s.until) {
		s.Have, s.HaveRate = 0, 0
	}
	got, err := queue.ShareLimits(r.ctx, r.q, r.now, s.LimitRequest)
	r.check("ShareLimits", err)
	if len(got) != 1 {
		r.Fatalf("ShareLimits answered one request with %d shares", len(got))
	}
	s.take(r, got[0])
}

func (s *sharer) take(r *run, got queue.LimitShare) {
	r.Helper()
	if until := r.now.Add(queue.ShareLength); got.Until.Sub(until).Abs() > time.Millisecond {
		r.Errorf("the share ends at %v, want %v", got.Until, until)
	}
	s.Have, s.HaveRate, s.until = got.Connections, got.Rate, got.Until
}

// sharers are claimers of one limit that want a great deal.
func sharers(names ...string) (list []*sharer) {
	for _, name := range names {
		list = append(list, &sharer{LimitRequest: queue.LimitRequest{
			Limit: "site", Claimer: name, Connections: 10, Rate: 100, Want: 50,
		}})
	}
	return list
}

// wantShare compares what a claimer has.
func (r *run) wantShare(s *sharer, connections int, rate float64) {
	r.Helper()
	if s.Have != connections || s.HaveRate < rate-0.01 || s.HaveRate > rate+0.01 {
		r.Errorf("%s has %d connections and %v messages a second of %d and %v, want %d and %v",
			s.Claimer, s.Have, s.HaveRate, s.Connections, s.Rate, connections, rate)
	}
}

func shareWithClaim(r *run) {
	list := sharers("a", "b")
	a, b := list[0], list[1]
	got := r.claim(queue.ClaimOptions{Limits: []queue.LimitRequest{a.LimitRequest}})
	if len(got.Limits) != 1 {
		r.Fatalf("Claim with one request answered with %d shares", len(got.Limits))
	}
	a.take(r, got.Limits[0])
	r.wantShare(a, 10, 100)
	r.ask(b)
	r.wantShare(b, 0, 0)
	if got := r.claim(queue.ClaimOptions{}); got.Limits != nil {
		r.Errorf("Claim without requests answered with %d shares", len(got.Limits))
	}
}

func shareStillHad(r *run) {
	list := sharers("a", "b")
	a, b := list[0], list[1]
	r.ask(a)
	r.ask(b)
	r.ask(a) // with all that it has
	r.wantShare(a, 5, 50)
	r.ask(b)
	r.wantShare(b, 0, 0)
	a.Have = 7 // two of what it was to end have not
	r.ask(a)
	r.ask(b)
	r.wantShare(b, 3, 50)
	a.Have = 5
	r.ask(a)
	r.ask(b)
	r.wantShare(b, 5, 50)
}

func shareOfSilent(r *run) {
	list := sharers("a", "b")
	a, b := list[0], list[1]
	r.ask(a)
	for range 2 {
		r.advance(queue.ShareHold/2 - time.Second)
		r.ask(b)
		r.wantShare(b, 0, 0)
	}
	r.advance(2 * time.Second)
	r.ask(b)
	r.wantShare(b, 10, 100)
}

func sharesInSum(r *run) {
	random := rand.New(rand.NewPCG(1, 2))
	list := sharers("a", "b", "c", "d")
	for range 300 {
		s := list[random.IntN(len(list))]
		s.Want = random.IntN(8) * random.IntN(8)
		r.ask(s)
		if random.IntN(3) == 0 {
			r.advance(time.Duration(random.IntN(9000)) * time.Millisecond)
		}
		connections, rate := 0, 0.0
		for _, s := range list {
			if r.now.Before(s.until) {
				connections += s.Have
				rate += s.HaveRate
			}
		}
		if connections > s.Connections || rate > s.Rate+0.01 {
			r.Fatalf("there are shares of %d connections and %v messages a second of %d and %v", connections, rate, s.Connections, s.Rate)
		}
	}
}

func sharesOfHandles(r *run) {
	other, kill := r.handle()
	list := sharers("a", "b")
	a, b := list[0], list[1]
	r.by(other, func() { r.ask(b) })
	r.ask(a)
	r.wantShare(a, 0, 0)
	r.by(other, func() {
		r.ask(b)
		r.ask(b)
	})
	r.ask(a)
	r.wantShare(a, 5, 50)
	kill()
	r.advance(queue.ShareHold + time.Second)
	r.ask(a)
	r.wantShare(a, 10, 100)
}

func sharesOfTwo(r *run) {
	list := sharers("a", "b")
	a, b := list[0], list[1]
	b.Limit = "group"
	r.ask(a)
	r.ask(b)
	r.wantShare(a, 10, 100)
	r.wantShare(b, 10, 100)
}

// settleShares has claimers ask until nothing changes any more.
func (r *run) settleShares(list []*sharer) {
	r.Helper()
	for range 4 {
		for _, s := range list {
			r.ask(s)
		}
	}
}

func equalShares(r *run) {
	list := sharers("a", "b", "c", "d", "e")
	r.settleShares(list)
	for _, s := range list {
		r.wantShare(s, 2, 20)
	}
}

func unequalShares(r *run) {
	list := sharers("a", "b", "c")
	list[1].Want = 2
	r.settleShares(list)
	r.wantShare(list[0], 4, 100.0/3)
	r.wantShare(list[1], 2, 100.0/3)
	r.wantShare(list[2], 4, 100.0/3)
}

func sharesInTurn(r *run) {
	list := sharers("a", "b", "c")
	had := make(map[string]time.Duration)
	for _, s := range list {
		s.Connections = 2
	}
	const step = 5 * time.Second
	for range 6 * int(queue.ShareTurn/step) {
		for _, s := range list {
			r.ask(s)
			had[s.Claimer] += time.Duration(s.Have) * step
		}
		r.advance(step)
	}
	for _, s := range list {
		if had[s.Claimer] < 2*queue.ShareTurn {
			r.Errorf("of two connections for six turns %s had one for %v, want about %v", s.Claimer, had[s.Claimer], 4*queue.ShareTurn)
		}
	}
}

func shareGivenBack(r *run) {
	list := sharers("a", "b")
	a, b := list[0], list[1]
	r.ask(a)
	a.Want, a.Have, a.HaveRate = 0, 0, 0
	r.ask(a)
	r.wantShare(a, 0, 0)
	r.ask(b)
	r.wantShare(b, 10, 100)
}
