package queuetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func surveyChecks() []check {
	return []check{
		{ruleA7, "counts, sizes and ages by destination", needSurvey, surveyed},
		{ruleA7, "page by page", needSurvey, surveyPages},
		{ruleA7, "what is held, leased and postponed", needSurvey | needHold | needPostpone, surveyedStates},
		{ruleA7, "nothing is left of what has left", needSurvey, surveyedEmpty},
	}
}

// survey is all destinations.
func (r *run) survey() []queue.Destination {
	r.Helper()
	got, err := queue.Survey(r.ctx, r.q, "", 1000)
	r.check("Survey", err)
	return got
}

// wantSurvey compares the destinations.
func (r *run) wantSurvey(want ...queue.Destination) {
	r.Helper()
	got := r.survey()
	r.eventually(func() bool {
		got = r.survey()
		return slices.EqualFunc(got, want, sameDestination)
	})
	if !slices.EqualFunc(got, want, sameDestination) {
		r.Errorf("Survey = %+v, want %+v", got, want)
	}
}

func sameDestination(a, b queue.Destination) bool {
	if inMillis(a.Oldest) != inMillis(b.Oldest) || inMillis(a.Postponed) != inMillis(b.Postponed) {
		return false
	}
	a.Oldest, a.Postponed = b.Oldest, b.Postponed
	return a == b
}

func (r *run) wantTotal(want queue.Totals) {
	r.Helper()
	var got queue.Totals
	r.eventually(func() bool {
		var err error
		got, err = queue.Total(r.ctx, r.q)
		r.check("Total", err)
		return got == want
	})
	if got != want {
		r.Errorf("Total = %+v, want %+v", got, want)
	}
}

// sized puts a message with content of a size.
func (r *run) sized(n int, to ...string) string {
	m := r.message(to...)
	m.Content = queue.String(fmt.Sprintf("%0*d", n, 0))
	return r.put(m)
}

func surveyed(r *run) {
	start := r.now
	r.sized(100, "a@one.example", "b@two.example", "c@one.example")
	r.advance(time.Minute)
	r.sized(1000, "a@two.example")
	r.sized(10, "a@one.example")
	r.wantSurvey(
		queue.Destination{Name: "one.example", Deliveries: 2, Bytes: 110, Oldest: start},
		queue.Destination{Name: "two.example", Deliveries: 2, Bytes: 1100, Oldest: start},
	)
	r.wantTotal(queue.Totals{Messages: 3, Deliveries: 4, Bytes: 1110})
	d := r.first(queue.ClaimOptions{Destinations: []string{"two.example"}, Max: 1})
	r.settle(all(d, queue.Delivered))
	r.wantSurvey(
		queue.Destination{Name: "one.example", Deliveries: 2, Bytes: 110, Oldest: start},
		queue.Destination{Name: "two.example", Deliveries: 1, Bytes: 1000, Oldest: start.Add(time.Minute)},
	)
	r.wantTotal(queue.Totals{Messages: 3, Deliveries: 3, Bytes: 1110})
}

func surveyPages(r *run) {
	var want []string
	for i := range queue.DefaultMax + 20 {
		name := fmt.Sprintf("d%03d.example", (i*7)%(queue.DefaultMax+20))
		r.put(r.message("a@" + name))
		want = append(want, name)
	}
	slices.Sort(want)
	for _, max := range []int{0, 7} {
		var got []string
		after := ""
		for {
			page, err := queue.Survey(r.ctx, r.q, after, max)
			r.check("Survey", err)
			for _, d := range page {
				got = append(got, d.Name)
			}
			size := max
			if size == 0 {
				size = queue.DefaultMax
			}
			if len(page) < size {
				break
			}
			after = page[len(page)-1].Name
		}
		if !slices.Equal(got, want) {
			r.Errorf("pages of %d have the destinations %q, want %q", max, got, want)
		}
	}
}

func surveyedStates(r *run) {
	start := r.now
	var ids []string
	for range 5 {
		ids = append(ids, r.sized(10, "a@one.example"))
	}
	d := r.first(queue.ClaimOptions{Max: 1})
	r.hold(ids[3])
	r.hold(ids[4])
	r.postpone("one.example", start.Add(time.Hour))
	want := queue.Destination{
		Name: "one.example", Deliveries: 5, Held: 2, Leased: 1, Bytes: 50, Oldest: start,
		Postponed: start.Add(time.Hour), Reason: because(start.Add(time.Hour)),
	}
	r.wantSurvey(want)
	r.settle(deferred(d, r.now))
	r.release(ids[3])
	r.postpone("one.example", time.Time{})
	want.Held, want.Leased, want.Postponed, want.Reason = 1, 0, time.Time{}, ""
	r.wantSurvey(want)
}

func surveyedEmpty(r *run) {
	r.wantSurvey()
	r.wantTotal(queue.Totals{})
	r.sized(100, "a@one.example", "b@two.example")
	for _, d := range r.due() {
		r.settle(all(d, queue.Delivered))
	}
	r.wantSurvey()
	r.wantTotal(queue.Totals{})
}
