package disk

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// TestPostponeOfALongName postpones the longest name that may be, and one that is longer, with
// which nothing of the call is done.
func TestPostponeOfALongName(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	mustPut(t, s)
	before := s.current.size
	list := []queue.Postponement{{Destination: "a.example", Until: now.Add(time.Hour)}, {Destination: strings.Repeat("x", maxName+1), Until: now.Add(time.Hour)}}
	if err := s.Postpone(ctx, now, list...); err == nil || s.current.size != before || s.index.IsPostponed("a.example") {
		t.Errorf("Postpone of a name that is too long = %v, and %d bytes are written", err, s.current.size-before)
	}
	list[1].Destination = list[1].Destination[1:]
	must(t, s.Postpone(ctx, now, list...))
	for _, p := range list {
		if !s.index.IsPostponed(p.Destination) {
			t.Errorf("a name of %d bytes is not postponed", len(p.Destination))
		}
	}
}

// TestPostponeAfterTheClockWentBack has a claim tell a later time than a postponement that is
// made after it: it is not over before its end comes again.
func TestPostponeAfterTheClockWentBack(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	mustPut(t, s)
	_, err := s.Claim(ctx, now.Add(10*time.Minute), queue.ClaimOptions{Destinations: []string{"none.example"}})
	must(t, err)
	for _, name := range []string{"example.com", "empty.example"} { // one for which no mail waits
		must(t, s.Postpone(ctx, now, queue.Postponement{Destination: name, Until: now.Add(5 * time.Minute)}))
		s.sweep()
	}
	for range 2 {
		c, err := s.Claim(ctx, now, queue.ClaimOptions{})
		must(t, err)
		if until, _ := s.index.Postponed("example.com"); len(c.Deliveries) > 0 || !until.Equal(now.Add(5*time.Minute)) {
			t.Errorf("it is postponed until %v, and %d deliveries are claimed", until, len(c.Deliveries))
		}
		if !s.index.IsPostponed("empty.example") {
			t.Error("a postponement is forgotten that is not over")
		}
		must(t, s.takeCheckpoint(ctx))
		s, err = openByHand(fs.Restart(), Options{})
		must(t, err)
	}
}

// TestPostponeWithALongReason keeps as much of a reason as of a reply.
func TestPostponeWithALongReason(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "a.example", Until: now.Add(time.Hour), Reason: strings.Repeat("x", queue.MaxReplyText+1)}))
	if _, reason := s.index.Postponed("a.example"); len(reason) != queue.MaxReplyText {
		t.Errorf("%d bytes of a reason are kept, want %d", len(reason), queue.MaxReplyText)
	}
}

// TestLiftingWakes: who waits for mail is told if any of several postponements is lifted,
// of one owner or of all.
func TestLiftingWakes(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, owner := range []string{"", "me"} {
		_, s := openSmall(t)
		c, err := s.Claim(t.Context(), now, queue.ClaimOptions{})
		must(t, err)
		must(t, s.Postpone(t.Context(), now,
			queue.Postponement{Destination: "a.example", Owner: owner}, queue.Postponement{Destination: "b.example", Owner: owner, Until: now.Add(time.Hour)}))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := s.Wait(ctx, c.Seen); err != nil {
			t.Errorf("of %q: Wait = %v", owner, err)
		}
		cancel()
	}
}

// TestOwnersDoNotWaitForTheDevice has an owner postpone a destination, and lift that again,
// while the device is busy: neither waits for it, since neither is written.
func TestOwnersDoNotWaitForTheDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, s := openSmall(t)
		fs.Meanwhile(func() { time.Sleep(time.Second) })
		began := time.Now()
		var group sync.WaitGroup
		group.Go(func() { mustPut(t, s) })
		synctest.Wait()
		for _, until := range []time.Time{began.Add(time.Hour), {}} {
			must(t, s.Postpone(t.Context(), began, queue.Postponement{Destination: "a.example", Owner: "me", Until: until}))
			if took := time.Since(began); took != 0 {
				t.Errorf("Postpone until %v by an owner took %v", until, took)
			}
		}
		group.Wait()
		if time.Since(began) == 0 {
			t.Error("the device was not busy")
		}
		must(t, s.Close())
	})
}

// TestNamesThatTwoWriteAbout has two calls write about a destination, and one be over.
func TestNamesThatTwoWriteAbout(t *testing.T) {
	_, s := openSmall(t)
	names := []string{"a.example"}
	first, second := plainTicket(growing), plainTicket(growing)
	s.pass(first, names)
	s.pass(second, names)
	must(t, s.passed(first, names))
	if n := s.passing["a.example"]; n != 1 {
		t.Errorf("%d calls write about it, want 1", n)
	}
	must(t, s.passed(second, names))
	if len(s.passing) > 0 {
		t.Errorf("calls that are over write about %v", s.passing)
	}
}

// TestPostponementsOfManyOwners has an owner with more postponements than are ended while the
// lock is held once make way for another, and another lift as many.
func TestPostponementsOfManyOwners(t *testing.T) {
	ctx, now := t.Context(), time.Unix(1e9, 0)
	_, s := openSmall(t)
	mustPut(t, s)
	claimable := func(owner string) bool {
		t.Helper()
		c, err := s.Claim(ctx, now, queue.ClaimOptions{Owner: owner})
		must(t, err)
		s.mu.Lock()
		slot, _ := s.index.Find(16, "example.com")
		s.index.Unlease(slot)
		s.mu.Unlock()
		return len(c.Deliveries) > 0
	}
	many := func(owner string, until time.Time) {
		t.Helper()
		list := []queue.Postponement{{Destination: "example.com", Owner: owner, Until: until}}
		for i := range 2*holdMax + 3 {
			list = append(list, queue.Postponement{Destination: fmt.Sprintf("d%d.example", i), Owner: owner, Until: until})
		}
		must(t, s.Postpone(ctx, now, list...))
	}
	many("first", now.Add(time.Minute))
	if claimable("first") || !claimable("other") {
		t.Error("it is not postponed for the first owner alone")
	}
	for i := range 64 { // as many as there may be, with the first
		must(t, s.Postpone(ctx, now, queue.Postponement{Destination: "example.com", Owner: fmt.Sprint("owner ", i), Until: now.Add(time.Hour)}))
	}
	s.mu.Lock()
	more := s.index.UnparkAll("first", 1)
	s.mu.Unlock()
	if more || !claimable("first") {
		t.Error("the owner whose postponements end first keeps some")
	}
	for i := range 64 {
		if claimable(fmt.Sprint("owner ", i)) {
			t.Errorf("it is not postponed for owner %d", i)
		}
	}
	many("owner 3", now.Add(time.Hour))
	must(t, s.Postpone(ctx, now, queue.Postponement{Owner: "owner 3"}))
	if !claimable("owner 3") || claimable("owner 4") {
		t.Error("the postponements of an owner are lifted not at all, or with those of another")
	}
	s.mu.Lock()
	more = s.index.UnparkAll("owner 3", 1)
	s.mu.Unlock()
	if more {
		t.Error("an owner keeps postponements who has lifted all")
	}
}
