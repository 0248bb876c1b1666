package share_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/share"
	"github.com/nexthop-mail/nexthop/queue"
)

var (
	noon  = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	site  = share.Limit{Name: "mx.example"}
	group = share.Limit{Name: "mx.example", Group: true}
)

// rig is the shares of an agent, at a time.
type rig struct {
	*testing.T
	*share.Set
	now time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return &rig{t, share.New("agent"), noon}
}

// plan plans for some needs, and those that are held.
func (r *rig) plan(needs ...share.Need) (list []queue.LimitRequest, more bool) {
	all := make(map[share.Limit]*share.Need)
	for _, n := range append(r.Held(), needs...) {
		all[n.Limit] = &n
	}
	return r.Plan(r.now, all)
}

// answered wants a plan with so many requests, and answers them with the same share for 20 s.
func (r *rig) answered(answer queue.LimitShare, n int, needs ...share.Need) {
	r.Helper()
	list, _ := r.plan(needs...)
	if len(list) != n {
		r.Errorf("%d requests %+v, want %d", len(list), list, n)
	}
	if answer.Until.IsZero() {
		answer.Until = r.now.Add(20 * time.Second)
	}
	if got := r.Take(list, slices.Repeat([]queue.LimitShare{answer}, len(list)), r.now, r.now); got != (n > 0) {
		r.Errorf("there are answers: %t", got)
	}
}

// has wants that the agent may use so much of a limit.
func (r *rig) has(limit share.Limit, most int, rate float64) {
	r.Helper()
	if m, p := r.Of(r.now, limit); m != most || p != rate {
		r.Errorf("after %v it may use %d connections of %v and a rate of %v, want %d and %v", r.now.Sub(noon), m, limit, p, most, rate)
	}
}

func TestNoShares(t *testing.T) {
	var none *share.Set
	if none.Requests() != nil || none.Take(none.Requests(), nil, noon, noon) || none.Return() != nil {
		t.Error("an agent without shares asks for some, or has some")
	}
	r := newRig(t)
	r.has(site, 0, 0)
	if list, more := r.plan(); list != nil || more || r.Lessened() || r.Return() != nil || r.Held() != nil {
		t.Errorf("an agent that needs nothing asks for %+v", list)
	}
}

// TestRequest: a request says what is needed, who asks, and what the agent goes by until
// the answer. There is one for each limit, and a site and a group may have the same name.
func TestRequest(t *testing.T) {
	r := newRig(t)
	needs := []share.Need{
		{Limit: site, Connections: 20, Rate: 3, Want: 7, Open: 2}, {Limit: group, Connections: 50, Want: 1},
	}
	list, more := r.plan(needs...)
	if want := []queue.LimitRequest{
		{Limit: "group mx.example", Claimer: "agent", Connections: 50, Want: 1},
		{Limit: "site mx.example", Claimer: "agent", Connections: 20, Rate: 3, Want: 7, Have: 2},
	}; !slices.Equal(list, want) || !more {
		t.Errorf("the requests are %+v, want %+v", list, want)
	}
	r.has(site, 0, 0)
	until := noon.Add(time.Minute) // by the clock of the queue
	if !r.Take(list, []queue.LimitShare{{Connections: 9, Until: until}, {Connections: 5, Rate: 2, Until: until}}, noon.Add(40*time.Second), noon) {
		t.Error("there are no answers")
	}
	r.has(group, 9, 0)
	r.has(site, 5, 2)
	r.now = noon.Add(20*time.Second - 1)
	r.has(site, 5, 2)
	list, _ = r.plan(needs...)
	if len(list) != 2 || list[1].Have != 5 || list[1].HaveRate != 2 || list[0].Have != 1 {
		t.Errorf("the next requests are %+v", list)
	}
	r.now = noon.Add(20 * time.Second)
	r.has(site, 0, 0)
}

// TestWhatMayBeUsed: without a limit of connections, any number; without a share of the
// rate, nothing; and no more than is needed.
func TestWhatMayBeUsed(t *testing.T) {
	for _, c := range []struct {
		name   string
		need   share.Need
		answer queue.LimitShare
		most   int
		rate   float64
	}{
		{"the share of connections", share.Need{Connections: 10, Want: 10}, queue.LimitShare{Connections: 4}, 4, 0},
		{"nothing", share.Need{Connections: 10, Want: 10}, queue.LimitShare{}, 0, 0},
		{"the share of the rate", share.Need{Rate: 10, Want: 10}, queue.LimitShare{Rate: 4}, 1 << 30, 4},
		{"no rate", share.Need{Rate: 10, Want: 10}, queue.LimitShare{}, 0, 0},
		{"connections without a rate", share.Need{Connections: 10, Rate: 10, Want: 10}, queue.LimitShare{Connections: 4}, 0, 0},
		{"both", share.Need{Connections: 10, Rate: 10, Want: 10}, queue.LimitShare{Connections: 4, Rate: 2}, 4, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			c.need.Limit = site
			r.answered(c.answer, 1, c.need)
			r.has(site, c.most, c.rate)
		})
	}
	t.Run("what is needed by now", func(t *testing.T) {
		r := newRig(t)
		r.answered(queue.LimitShare{Connections: 8, Rate: 2}, 1, share.Need{Limit: site, Connections: 10, Rate: 9, Want: 9})
		r.Lessened()
		r.plan(share.Need{Limit: site, Connections: 10, Rate: 9, Want: 3, Open: 5})
		r.has(site, 5, 2)
		r.plan(share.Need{Limit: site, Connections: 10, Rate: 9, Want: 6, Open: 1})
		r.has(site, 5, 2)
		r.plan(share.Need{Limit: site, Connections: 10, Rate: 9, Open: 2})
		r.has(site, 0, 0) // no rate is needed
	})
}

// TestRenewal: a share is asked for again after 5 s, and after a second if it is not what
// is needed.
func TestRenewal(t *testing.T) {
	for _, c := range []struct {
		name   string
		need   share.Need
		answer queue.LimitShare
		then   share.Need // a second later
		again  bool
	}{
		{"as needed", share.Need{Connections: 9, Want: 4}, queue.LimitShare{Connections: 4}, share.Need{Connections: 9, Want: 4, Open: 4}, false},
		{"less than is wanted", share.Need{Connections: 9, Want: 4}, queue.LimitShare{Connections: 3}, share.Need{Connections: 9, Want: 4}, true},
		{"more than is wanted", share.Need{Connections: 9, Want: 4}, queue.LimitShare{Connections: 4}, share.Need{Connections: 9, Want: 3}, true},
		{"more are open", share.Need{Connections: 9, Want: 4}, queue.LimitShare{Connections: 4}, share.Need{Connections: 9, Want: 4, Open: 5}, true},
		{"nothing is wanted, and some are open", share.Need{Connections: 9, Want: 4}, queue.LimitShare{Connections: 4}, share.Need{Connections: 9, Open: 4}, false},
		{"nothing is needed", share.Need{Connections: 9, Want: 4}, queue.LimitShare{Connections: 4}, share.Need{Connections: 9}, true},
		{"nothing is needed of nothing", share.Need{Connections: 9, Want: 4}, queue.LimitShare{}, share.Need{Connections: 9}, true},
		{"no rate is needed", share.Need{Rate: 9, Want: 4}, queue.LimitShare{Rate: 4}, share.Need{Rate: 9}, true},
		{"a rate, for more than are limited", share.Need{Rate: 9, Want: 4}, queue.LimitShare{Rate: 4}, share.Need{Rate: 9, Want: 40}, false},
		{"no rate", share.Need{Connections: 9, Rate: 9, Want: 4}, queue.LimitShare{Connections: 4}, share.Need{Connections: 9, Rate: 9, Want: 4}, true},
		{"an end that has come", share.Need{Connections: 9, Want: 4}, queue.LimitShare{Connections: 4, Until: noon.Add(time.Second)}, share.Need{Connections: 9, Want: 4}, true},
		{"an end that has come, of no limit", share.Need{Want: 4}, queue.LimitShare{Until: noon.Add(time.Second)}, share.Need{Want: 4}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			c.need.Limit, c.then.Limit = site, site
			r.answered(c.answer, 1, c.need)
			r.now = noon.Add(time.Second - 1)
			if list, _ := r.plan(c.need); len(list) > 0 {
				t.Errorf("it is asked for again within a second: %+v", list)
			}
			r.now = noon.Add(time.Second)
			if list, more := r.plan(c.then); len(list) > 0 != c.again || !more {
				t.Errorf("it is asked for again after a second: %+v", list)
			}
			if c.again {
				r.now = noon.Add(6 * time.Second)
			} else {
				r.now = noon.Add(5*time.Second - 1)
				if list, _ := r.plan(c.then); len(list) > 0 {
					t.Errorf("it is asked for again within 5 s: %+v", list)
				}
				r.now = noon.Add(5 * time.Second)
			}
			if list, _ := r.plan(c.then); len(list) != 1 {
				t.Errorf("5 s after the last request there are the requests %+v", list)
			}
		})
	}
}

// TestForgotten: a limit is kept while its share lasts, while it is needed, and while some
// of it is in use.
func TestForgotten(t *testing.T) {
	r := newRig(t)
	r.answered(queue.LimitShare{Connections: 4}, 1, share.Need{Limit: site, Connections: 9, Want: 4})
	r.now = noon.Add(20*time.Second - 1)
	if _, more := r.plan(); !more {
		t.Error("one of which there is a share is forgotten")
	}
	r.now = noon.Add(20 * time.Second)
	if _, more := r.plan(share.Need{Limit: site, Connections: 9, Open: 1}); !more {
		t.Error("one that is in use is forgotten")
	}
	if list := r.Return(); len(list) != 1 || list[0] != (queue.LimitRequest{Limit: "site mx.example", Claimer: "agent", Connections: 9}) {
		t.Errorf("given back is %+v", list)
	}
	if _, more := r.plan(); more || len(r.Held()) > 0 || r.Return() != nil {
		t.Error("one of which nothing is left is kept")
	}
}

// TestLessened: it is told once if a share is less than it was, because of an answer or
// because it has ended.
func TestLessened(t *testing.T) {
	r := newRig(t)
	need := share.Need{Limit: site, Connections: 9, Want: 9}
	less := func(want bool) {
		t.Helper()
		if got := r.Lessened(); got != want {
			t.Errorf("after %v there is less: %t, want %t", r.now.Sub(noon), got, want)
		}
	}
	for _, c := range []struct {
		connections int
		less        bool
	}{{4, false}, {4, false}, {6, false}, {3, true}, {5, false}} {
		r.answered(queue.LimitShare{Connections: c.connections}, 1, need)
		less(c.less)
		less(false)
		r.now = r.now.Add(5 * time.Second)
	}
	r.now = r.now.Add(time.Minute)
	r.plan(need)
	less(true)
	r.plan(need)
	less(false)
	t.Run("of several limits", func(t *testing.T) {
		r := newRig(t)
		needs := []share.Need{{Limit: site, Connections: 9, Want: 9}, {Limit: group, Connections: 9, Want: 9}}
		r.answered(queue.LimitShare{Connections: 4}, 2, needs...)
		r.now = noon.Add(5 * time.Second)
		list, _ := r.plan(needs...)
		until := noon.Add(time.Minute)
		r.Take(list, []queue.LimitShare{{Connections: 3, Until: until}, {Connections: 5, Until: until}}, r.now, r.now)
		r.plan(append(needs, share.Need{Limit: share.Limit{Name: "b.example"}, Connections: 9, Want: 9})...)
		if !r.Lessened() {
			t.Error("that one is less is not told if others are not")
		}
	})
}

// TestAnswers: answers that do not belong to the requests, or that the queue could not
// give, change nothing.
func TestAnswers(t *testing.T) {
	r := newRig(t)
	r.answered(queue.LimitShare{Connections: 4}, 1, share.Need{Limit: site, Connections: 9, Want: 9})
	until := noon.Add(time.Minute)
	for name, c := range map[string]struct {
		list []queue.LimitRequest
		got  []queue.LimitShare
		any  bool
	}{
		"none":                         {[]queue.LimitRequest{{Limit: "site mx.example"}}, nil, false},
		"too many":                     {[]queue.LimitRequest{{Limit: "site mx.example"}}, []queue.LimitShare{{Connections: 1, Until: until}, {}}, false},
		"to nothing":                   {nil, nil, false},
		"that could not be given":      {[]queue.LimitRequest{{Limit: "site mx.example"}}, []queue.LimitShare{{Connections: 1}}, true},
		"about a limit not known here": {[]queue.LimitRequest{{Limit: "site b.example"}}, []queue.LimitShare{{Connections: 1, Until: until}}, true},
	} {
		if got := r.Take(c.list, c.got, noon, noon); got != c.any {
			t.Errorf("answers %s: there are some: %t, want %t", name, got, c.any)
		}
		r.has(site, 4, 0)
	}
}

// TestOffer: requests are sent by one.
func TestOffer(t *testing.T) {
	r := newRig(t)
	list, _ := r.plan(share.Need{Limit: site, Connections: 9, Want: 9})
	r.Offer(list)
	if got := r.Requests(); !slices.Equal(got, list) {
		t.Errorf("offered are %+v, want %+v", got, list)
	}
	if got := r.Requests(); got != nil {
		t.Errorf("offered twice are %+v", got)
	}
}
