package queuetest

import (
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// ownChecks are about postponements that have an owner.
func ownChecks() []check {
	return []check{
		{ruleA8, "it binds its owner's claims and nobody else's", needPostpone, ownPostponed},
		{ruleA8, "it ends at its time, or where its owner lifts it", needPostpone, ownLifted},
		{ruleA8, "of two owners each has its own", needPostpone, ownOfTwo},
		{ruleA8, "it neither hides nor lifts everybody's", needPostpone, ownAndEverybodys},
		{ruleA8, "no Flush lifts it", needPostpone | needFlush, ownFlushed},
		{ruleA8, "nothing shows it", needPostpone | needList | needSurvey, ownShown},
		{ruleA8, "its owner is told when it ends", needPostpone, nextOfOwn},
		{ruleA8, "a great many cost the others nothing", needPostpone, manyOwn},
		{ruleA8, "it ends with the process", needPostpone | needReopen, ownAfterReopen},
	}
}

// park postpones a destination for an owner.
func (r *run) park(owner, destination string, until time.Time) {
	r.Helper()
	r.postponeAll(queue.Postponement{Destination: destination, Until: until, Owner: owner, Reason: "no room"})
}

// ownersDue claims what is due for an owner, and gives it back.
func (r *run) ownersDue(owner string) map[string]int {
	r.Helper()
	got := r.everything(queue.ClaimOptions{Owner: owner, Max: 1000}).Deliveries
	for _, d := range got {
		_, err := r.extend(d.Lease, 0)
		r.check("Extend", err)
	}
	return of(got, destinationOf)
}

// wantOwners compares how many deliveries of one.example and two.example an owner
// is given.
func (r *run) wantOwners(owner string, one, two int, when string) {
	r.Helper()
	if got := r.ownersDue(owner); got["one.example"] != one || got["two.example"] != two {
		r.Errorf("%s: a claim of %q returned %v, want %d of one.example and %d of two.example", when, owner, got, one, two)
	}
}

// putTwo puts three messages to one.example and two to two.example.
func (r *run) putTwo() {
	for i := range 5 {
		r.put(r.message([]string{"a@one.example", "a@two.example"}[i%2]))
	}
}

func ownPostponed(r *run) {
	r.putTwo()
	r.park("a", "one.example", r.now.Add(time.Hour))
	r.put(r.message("a@one.example"))
	r.wantOwners("a", 0, 2, "of one.example, which it has postponed")
	r.wantOwners("b", 4, 2, "of one.example, which another has postponed")
	r.wantOwners("", 4, 2, "of one.example, which somebody has postponed")
	named := r.claim(queue.ClaimOptions{Owner: "a", Destinations: []string{"one.example"}})
	if len(named.Deliveries) != 0 {
		r.Errorf("a claim of its owner by name returned %s, want nothing", describe(named.Deliveries))
	}
	if named = r.claim(queue.ClaimOptions{Owner: "b", Destinations: []string{"one.example"}, Max: 1}); len(named.Deliveries) != 1 {
		r.Errorf("a claim of another by name returned %s, want one", describe(named.Deliveries))
	}
}

func ownLifted(r *run) {
	r.putTwo()
	for _, name := range []string{"one.example", "two.example", "three.example"} {
		r.park("a", name, r.now.Add(time.Hour))
	}
	r.park("a", "two.example", r.now.Add(time.Minute))
	r.wantOwners("a", 0, 0, "of what it has postponed")
	r.advance(time.Minute - 2*time.Millisecond)
	r.wantOwners("a", 0, 0, "just before the first ends")
	r.advance(2 * time.Millisecond)
	r.wantOwners("a", 0, 2, "when the first has ended")
	r.park("a", "two.example", r.now.Add(time.Hour))
	r.park("a", "one.example", time.Time{})
	r.wantOwners("a", 3, 0, "after it lifted one")
	r.park("a", "one.example", r.now.Add(time.Hour))
	r.park("a", "", time.Time{})
	r.wantOwners("a", 3, 2, "after it lifted all")
}

func ownOfTwo(r *run) {
	r.putTwo()
	r.park("a", "one.example", r.now.Add(time.Minute))
	r.park("b", "one.example", r.now.Add(time.Hour))
	r.park("b", "two.example", r.now.Add(time.Hour))
	r.wantOwners("a", 0, 2, "with one postponed by both")
	r.wantOwners("b", 0, 0, "with both postponed")
	r.wantOwners("c", 3, 2, "with nothing postponed")
	r.advance(time.Minute)
	r.wantOwners("a", 3, 2, "after its own has ended")
	r.wantOwners("b", 0, 0, "after another's has ended")
	r.park("a", "", time.Time{})
	r.wantOwners("b", 0, 0, "after another lifted all of its own")
	r.park("b", "one.example", time.Time{})
	r.wantOwners("b", 3, 0, "after it lifted one")
}

func ownAndEverybodys(r *run) {
	r.putTwo()
	until := r.now.Add(time.Hour)
	r.postpone("one.example", until)
	r.park("a", "one.example", r.now.Add(time.Minute))
	r.wantOwners("b", 0, 2, "of one.example, which is down")
	r.advance(time.Minute)
	r.wantOwners("a", 0, 2, "after its own has ended, of what is down")
	r.park("a", "one.example", r.now.Add(24*time.Hour))
	r.park("a", "one.example", time.Time{})
	r.park("a", "", time.Time{})
	r.wantOwners("a", 0, 2, "after it lifted its own, of what is down")
	r.park("a", "one.example", until.Add(time.Hour))
	r.postpone("one.example", time.Time{})
	r.wantOwners("a", 0, 2, "after everybody's was lifted, of its own")
	r.wantOwners("b", 3, 2, "after everybody's was lifted")
}

func ownFlushed(r *run) {
	r.putTwo()
	r.park("a", "one.example", r.now.Add(time.Hour))
	r.flush(queue.Selection{})
	r.flush(queue.Selection{Destination: "one.example"})
	r.wantOwners("a", 0, 2, "after a Flush, of its own")
	r.wantOwners("b", 3, 2, "after a Flush")
}

func ownShown(r *run) {
	id := r.put(r.message("a@one.example"))
	r.park("a", "one.example", r.now.Add(time.Hour))
	r.wantWaiting(id, []queue.Waiting{{State: queue.State{Index: 0}, Destination: "one.example"}})
	if got := r.survey(); len(got) != 1 || !got[0].Postponed.IsZero() || got[0].Reason != "" {
		r.Errorf("Survey = %+v, want one destination that is not postponed", got)
	}
}

func nextOfOwn(r *run) {
	r.put(r.message("a@one.example"))
	r.park("a", "one.example", r.now.Add(time.Hour))
	r.wantNext(queue.ClaimOptions{Owner: "a"}, r.now.Add(time.Hour))
	r.wantNext(queue.ClaimOptions{Owner: "a", Destinations: []string{"one.example"}}, r.now.Add(time.Hour))
	r.wantNext(queue.ClaimOptions{Owner: "a", Destinations: []string{"one.example", "two.example"}}, r.now.Add(time.Hour))
	m := r.message("a@two.example")
	m.NotBefore = r.now.Add(10 * time.Minute)
	r.put(m)
	r.wantNext(queue.ClaimOptions{Owner: "a"}, r.now.Add(10*time.Minute))
}

// manyOwn has an owner that has no room for many destinations, behind which there
// is mail for another.
func manyOwn(r *run) {
	const many = 300
	for i := range many {
		r.put(r.message(fmt.Sprintf("a@d%d.example", i)))
		r.park("a", fmt.Sprintf("d%d.example", i), r.now.Add(time.Hour+time.Duration(i)*time.Second))
	}
	r.put(r.message("a@one.example"))
	r.wantOwners("a", 1, 0, "behind much that it has no room for")
	if got := r.ownersDue("b"); len(got) != many+1 {
		r.Errorf("a claim of another returned mail for %d destinations, want %d", len(got), many+1)
	}
	r.advance(time.Hour + many*time.Second)
	if got := r.ownersDue("a"); len(got) != many+1 {
		r.Errorf("after all have ended a claim returned mail for %d destinations, want %d", len(got), many+1)
	}
}

func ownAfterReopen(r *run) {
	r.putTwo()
	r.park("a", "one.example", r.now.Add(time.Hour))
	r.reopen()
	r.wantOwners("a", 3, 2, "after a restart")
	if r.in.Crash == nil {
		return
	}
	r.park("a", "one.example", r.now.Add(time.Hour))
	r.put(r.message("a@two.example")) // so that all before it is saved
	r.crash()
	r.wantOwners("a", 3, 3, "after a crash")
}
