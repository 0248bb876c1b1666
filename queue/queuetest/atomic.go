package queuetest

import (
	"errors"
	"io"
	"strings"
	"testing/iotest"

	"github.com/nexthop-mail/nexthop/queue"
)

func atomicChecks() []check {
	return []check{
		{ruleS5, "a recipient that is not pending, or named twice, stops all of it", 0, senseless},
		{ruleS5, "a message that cannot be put stops all of it", 0, badBounce},
		{ruleS6, "one settlement that fails stops no other", 0, independent},
		{ruleS6, "of two settlements with one lease the first counts", 0, sequential},
	}
}

// wantUnsettled tries a settlement that must fail and leave everything as it is.
func (r *run) wantUnsettled(d queue.Delivery, s queue.Settlement, is func(error) bool, why string) {
	r.Helper()
	got := r.trySettle(s)
	if got.Err == nil || !is(got.Err) || len(got.Created) != 0 {
		r.Errorf("%s: Settle = %+v, want another error", why, got)
	}
	if ds := r.due(); len(ds) != 0 {
		r.Errorf("%s: Claim returned %s, want nothing: neither bounce nor the delivery, which is leased", why, describe(ds))
	}
	if _, err := r.extend(d.Lease, queue.DefaultLease); err != nil {
		r.Errorf("%s: Extend = %v, want the lease to be good", why, err)
	}
}

func senseless(r *run) {
	r.put(r.message("a@one.example", "b@two.example", "c@one.example"))
	d := r.some(2)[0]
	for _, c := range []struct {
		name    string
		results []queue.Result
		blamed  int
	}{
		{"a recipient of another destination", []queue.Result{{Recipient: 0, Outcome: queue.Delivered}, {Recipient: 1}}, 1},
		{"a recipient that is not there", []queue.Result{{Recipient: 0, Outcome: queue.Delivered}, {Recipient: 3}}, 3},
		{"a negative index", []queue.Result{{Recipient: 0, Outcome: queue.Delivered}, {Recipient: -1}}, -1},
		{"a recipient twice", []queue.Result{{Recipient: 2, Outcome: queue.Delivered}, {Recipient: 2}}, 2},
	} {
		s := queue.Settlement{Lease: d.Lease, Results: c.results, Create: []*queue.Message{r.message()}}
		r.wantUnsettled(d, s, func(err error) bool {
			var e *queue.ResultError
			return errors.As(err, &e) && e.Recipient == c.blamed
		}, c.name)
	}
	r.settle(queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: 0, Outcome: queue.Delivered}}})
	d = r.one()
	if len(d.States) != 1 || d.States[0] != (queue.State{Index: 2}) {
		r.Fatalf("the states are %+v, want an untouched one of index 2", d.States)
	}
	s := queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: 2}, {Recipient: 0}}}
	r.wantUnsettled(d, s, func(err error) bool { return errors.As(err, new(*queue.ResultError)) }, "a recipient that is settled")
}

func badBounce(r *run) {
	r.put(r.message())
	d := r.one()
	broken := errors.New("broken on purpose")
	address, short, unreadable := r.message("no domain"), r.message(), r.message()
	short.Content = stream(100, "short")
	unreadable.Content = &source{size: 100, open: func() (io.Reader, error) {
		return io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)), nil
	}}
	for _, c := range []struct {
		name string
		m    *queue.Message
	}{{"a bad address", address}, {"content too short", short}, {"content that cannot be read", unreadable}} {
		s := all(d, queue.Failed)
		s.Create = []*queue.Message{r.message(), c.m, r.message()}
		r.wantUnsettled(d, s, func(err error) bool { return errors.As(err, new(*queue.MessageError)) }, c.name)
	}
	r.settle(all(d, queue.Failed))
}

func independent(r *run) {
	for range 3 {
		r.put(r.message())
	}
	got := r.some(3)
	lost := all(got[1], queue.Delivered)
	lost.Lease.Token += 12345
	senseless := queue.Settlement{Lease: got[1].Lease, Results: []queue.Result{{Recipient: 9}}}
	bad := all(got[1], queue.Delivered)
	bad.Create = []*queue.Message{r.message("no domain")}
	results, err := r.q.Settle(r.ctx, r.now, []queue.Settlement{
		all(got[0], queue.Delivered), lost, senseless, bad, all(got[2], queue.Delivered),
	})
	r.check("Settle", err)
	if len(results) != 5 {
		r.Fatalf("Settle of five returned %d results", len(results))
	}
	for i, want := range []bool{true, false, false, false, true} {
		if (results[i].Err == nil) != want {
			r.Errorf("settlement %d: Err is %v, want nil: %t", i, results[i].Err, want)
		}
	}
	if !errors.Is(results[1].Err, queue.ErrLeaseLost) {
		r.Errorf("settlement 1: Err is %v, want ErrLeaseLost", results[1].Err)
	}
	r.settle(deferred(got[1], r.now))
	if d := r.one(); d.Lease.Message != got[1].Lease.Message || d.States[0].Attempts != 1 {
		r.Errorf("what is left is %s with %d attempts, want %s with 1", describe([]queue.Delivery{d}), d.States[0].Attempts,
			got[1].Lease.Message)
	}
}

func sequential(r *run) {
	r.put(r.message())
	d := r.one()
	keyed := func() []*queue.Message { return []*queue.Message{r.keyed("", "bounce")} }
	first, second := deferred(d, r.now), all(d, queue.Failed)
	first.Create, second.Create = keyed(), keyed()
	results, err := r.q.Settle(r.ctx, r.now, []queue.Settlement{first, second})
	r.check("Settle", err)
	if results[0].Err != nil || !errors.Is(results[1].Err, queue.ErrLeaseLost) {
		r.Errorf("two settlements of one lease: %v and %v, want nil and ErrLeaseLost", results[0].Err, results[1].Err)
	}
	if got := r.due(); len(got) != 2 {
		r.Errorf("Claim returned %s, want the deferred delivery and one bounce", describe(got))
	}
}
