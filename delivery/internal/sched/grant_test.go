package sched

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// offered is a site that takes and defers what it is offered, one attempt after the
// other.
type offered struct {
	grant
	now   time.Time
	every time.Duration // from one attempt to the next
	by    pressed
	found int // how often it has got a rate
}

// offer has attempts end, one letter each: "+" is taken, "d" deferred, "h" deferred by
// half, and "D" deferred after it began before anything was counted.
func (o *offered) offer(what string) {
	for _, c := range what {
		o.now = o.now.Add(o.every)
		began, deferred := o.now, 0.0
		switch c {
		case 'd':
			deferred = 1
		case 'h':
			deferred = 0.5
		case 'D':
			began, deferred = origin, 1
		}
		if o.judge(began, o.now, deferred, o.by) {
			o.found++
		}
	}
}

// says is the rate, as a test has it.
func (o *offered) says() string { return rate(o.rate) }

func rate(perSecond float64) string { return fmt.Sprintf("%.4g", perSecond) }

// many repeats what attempts come to.
func many(n int, what string) string { return strings.Repeat(what, n) }

func TestRateFound(t *testing.T) {
	const tenth = 100 * time.Millisecond
	usual := many(12, "+") + "dddd" // a round of which a quarter is deferred
	for _, c := range []struct {
		name  string
		what  string
		every time.Duration
		took  time.Duration
		idle  int // so many attempts, at first, while no more mail waits
		taken float64
		in    time.Duration // in which that was taken; zero where no rate is found
	}{
		{name: "what was taken between two deferrals, where a quarter was deferred", what: "d" + usual, every: tenth, taken: 12, in: 16 * tenth},
		{name: "none where all is taken", what: many(100, "+"), every: tenth},
		{name: "what was taken before the first deferral does not count", what: many(10, "+") + "d" + usual, every: tenth, taken: 12, in: 16 * tenth},
		{name: "none from fewer than sixteen", what: "d" + many(11, "+") + "dddd", every: tenth},
		{name: "one of sixteen, once they are that many", what: "d" + many(11, "+") + "ddddd", every: tenth, taken: 11, in: 16 * tenth},
		{name: "not when one is taken, but when the next is deferred", what: "ddddd" + many(12, "+") + "d", every: tenth, taken: 12, in: 17 * tenth},
		{name: "none where less than a quarter is deferred, and then all begins anew", what: "d" + many(13, "+") + "ddd" + usual, every: tenth, taken: 12, in: 16 * tenth},
		{name: "what began before the counting says nothing", what: "d" + many(16, "D") + usual, every: tenth, taken: 12, in: 32 * tenth},
		{name: "one as slow as 1.6 a second", what: "d" + usual, every: 625 * time.Millisecond, taken: 12, in: 10 * time.Second},
		{name: "none that is slower", what: "d" + usual, every: 626 * time.Millisecond},
		{name: "none where no more mail waits, and then all begins anew", what: "d" + usual + usual, every: tenth, idle: 17, taken: 12, in: 16 * tenth},
		{name: "none where one was taken, but when a second was", what: "d+" + many(15, "d") + "+d", every: tenth, taken: 2, in: 18 * tenth},
		{name: "one where one in 32 is taken", what: "d" + many(61, "d") + "++d", every: tenth, taken: 2, in: 64 * tenth},
		{name: "none where fewer are taken", what: "d" + many(63, "d") + "++d", every: tenth},
		{name: "one, though fewer were taken before", what: "d" + many(63, "d") + "++d+d", every: tenth, taken: 3, in: 68 * tenth},
		{name: "one in four times what an attempt takes", what: "d" + usual, every: tenth, took: 4 * tenth, taken: 12, in: 16 * tenth},
		{name: "none in less, and what was counted stays", what: "d" + usual + "d", every: tenth, took: 4*tenth + 1, taken: 12, in: 17 * tenth},
		{name: "one in two and a half minutes", what: "d" + many(125, "+d"), every: 600 * time.Millisecond, took: 37500 * time.Millisecond, taken: 125, in: 150 * time.Second},
		{name: "none in more", what: "d" + many(126, "+d"), every: 600 * time.Millisecond, took: 37600 * time.Millisecond},
	} {
		t.Run("L3 "+c.name, func(t *testing.T) {
			o := &offered{now: origin.Add(time.Hour), every: c.every, by: pressed{took: c.took}}
			o.offer(c.what[:c.idle])
			o.by.waits = true
			o.offer(c.what[c.idle:])
			want, found := "0", 0
			if c.in > 0 {
				want, found = rate(0.95*c.taken/c.in.Seconds()), 1
			}
			if o.says() != want || o.found != found {
				t.Errorf("after %q: %s a second, found %d times, want %s and %d", c.what, o.says(), o.found, want, found)
			}
		})
	}
}

// limited is a site whose rate was found to be so much, once it took more mail after
// that.
func limited(knee float64) *offered {
	o := &offered{now: origin.Add(time.Hour), every: 10 * time.Millisecond, by: pressed{waits: true}}
	o.best = knee
	o.set(o.now, knee)
	return o
}

func TestRateShrinks(t *testing.T) {
	for _, c := range []struct {
		name string
		what string
		want float64 // of the rate before
	}{
		{"not by what is deferred before anything is taken again", many(10, "d"), 1},
		{"by what is deferred in part before anything is taken again", "hhhh" + "h", 0.95 / 2},
		{"by what is deferred after something was taken", "dd+dd" + "d", 0.95 / 2},
		{"not by an eighth of a round", "+++++dd", 1},
		{"to what was taken of it, where more than an eighth is deferred", "+++++ddd", 0.95 * 5 / 8},
		{"to half of it at the least", "+ddd", 0.95 / 2},
	} {
		t.Run("L3 "+c.name, func(t *testing.T) {
			o := limited(8)
			before := o.rate
			if o.offer(c.what); o.says() != rate(before*c.want) || o.found > 0 {
				t.Errorf("after %q: %s a second, want %s", c.what, o.says(), rate(before*c.want))
			}
		})
	}
	t.Run("L3 what is counted begins anew", func(t *testing.T) {
		o := limited(8)
		o.offer("+++++ddd" + "+dd")
		if want := rate(0.95 * 8 * 0.95 * 5 / 8); o.says() != want {
			t.Errorf("%s a second, want %s", o.says(), want)
		}
	})
	t.Run("L3 to the last rate that was good, where that is more", func(t *testing.T) {
		o := limited(8)
		before := o.rate
		o.offer(many(16, "+") + "+ddd")
		if want := rate(0.95 * before); o.says() != want {
			t.Errorf("%s a second, want %s", o.says(), want)
		}
	})
	t.Run("L3 a rate at which some was deferred was not good", func(t *testing.T) {
		o := limited(8)
		before := o.rate
		o.offer(many(15, "+") + "h" + "+ddd")
		if want := rate(0.95 * 1.1 * before / 2); o.says() != want {
			t.Errorf("%s a second, want %s", o.says(), want)
		}
	})
	t.Run("L3 a rate was good until it was too much the next time", func(t *testing.T) {
		o := limited(8)
		before := o.rate
		o.offer(many(16, "+") + "+ddd" + "+ddd")
		if want := rate(0.95 * 0.95 * before / 2); o.says() != want {
			t.Errorf("%s a second, want %s", o.says(), want)
		}
	})
}

func TestRateGrows(t *testing.T) {
	t.Run("L3 by a tenth with each round, where what a site takes is an estimate", func(t *testing.T) {
		o := limited(8)
		for i, want := 0, 0.95*8; i < 20; i++ {
			o.offer(many(15, "+"))
			if o.says() != rate(want) {
				t.Fatalf("after %d rounds and fifteen attempts: %s a second, want %s", i, o.says(), rate(want))
			}
			if o.offer("+"); o.rate <= want {
				t.Fatalf("after %d rounds: %s a second as before", i+1, o.says())
			}
			want *= 1.1
		}
	})
	t.Run("L3 by a tenth where an eighth of the round was deferred", func(t *testing.T) {
		o := limited(8)
		o.offer(many(12, "+") + "hhh")
		before := o.rate
		if o.offer("h"); o.says() != rate(1.1*before) {
			t.Errorf("%s a second, want %s", o.says(), rate(1.1*before))
		}
	})
	t.Run("L3 not where no more mail waits", func(t *testing.T) {
		o := limited(8)
		before := o.rate
		o.by.waits = false
		if o.offer(many(64, "+")); o.says() != rate(before) {
			t.Errorf("%s a second, want %s", o.says(), rate(before))
		}
	})
	// known has a site that takes 100 a second by what has been learnt twice.
	known := func() *offered {
		o := limited(100)
		o.offer(many(12, "+") + "ddd")
		o.knee, o.rate, o.cut = 100, 95, o.now
		return o
	}
	t.Run("L3 slowly around what was too much, which it is again after 3.7 s", func(t *testing.T) {
		o := known()
		for _, c := range []struct {
			at   time.Duration
			want float64
		}{
			{1 * time.Second, 100 * (1 - 0.2684*0.2684*0.2684)},
			{2 * time.Second, 100 * (1 - 0.1684*0.1684*0.1684)},
			{3684 * time.Millisecond, 100},
			{5 * time.Second, 100 * (1 + 0.1316*0.1316*0.1316)},
			{10 * time.Second, 100 * (1 + 0.6316*0.6316*0.6316)}, // more than a tenth
		} {
			before := o.rate
			o.offer(many(15, "+"))
			o.now = o.cut.Add(c.at - o.every)
			o.offer("+")
			if want := rate(min(c.want, 1.1*before)); o.says() != want {
				t.Errorf("after %v: %s a second, want %s", c.at, o.says(), want)
			}
		}
	})
	t.Run("L3 the more slowly, the less a site takes", func(t *testing.T) {
		o := known()
		o.knee, o.rate = 2, 1.9
		o.offer(many(15, "+"))
		o.now = o.cut.Add(10*time.Second - o.every)
		o.offer("+") // 10 s of 50
		if want := rate(2 * (1 - 0.1684*0.1684*0.1684)); o.says() != want {
			t.Errorf("%s a second, want %s", o.says(), want)
		}
	})
	for what, rough := range map[string]bool{many(8, "+") + "ddd": true, many(9, "+") + "ddd": false, many(12, "+") + "ddd": false} {
		t.Run(fmt.Sprintf("L3 what a site takes is an estimate after %s: %t", what, rough), func(t *testing.T) {
			o := limited(8)
			o.rate = 8
			o.offer(what)
			before := o.rate
			o.offer(many(16, "+"))
			if grown := o.says() == rate(1.1*before); grown != rough {
				t.Errorf("from %s to %s a second", rate(before), o.says())
			}
		})
	}
}

func TestRateForgotten(t *testing.T) {
	t.Run("L3 once it is more than eight times what was too much", func(t *testing.T) {
		o := limited(8)
		for o.rate > 0 && o.rate <= 8*8/1.1 {
			o.offer(many(16, "+"))
		}
		if o.rate == 0 {
			t.Fatal("it was forgotten before")
		}
		o.rate = 7
		o.knee = o.rate * 1.1 / 8
		if o.offer(many(16, "+")); o.rate == 0 {
			t.Fatal("a rate of eight times what was too much is forgotten")
		}
		if o.offer(many(16, "+")); o.grant != (grant{}) {
			t.Errorf("%+v is left", o.grant)
		}
	})
	t.Run("L3 where it has fallen to a third and nothing is better, for longer each time", func(t *testing.T) {
		o := limited(90)
		for _, minutes := range []int{10, 20, 40, 80, 160, 320, 640, 720, 720} {
			pause := time.Duration(minutes) * time.Minute
			var rates []string
			for o.rate > 0 && len(rates) < 5 {
				rates = append(rates, o.says())
				o.offer("+ddd")
			}
			if want := fmt.Sprint([]string{"85.5", "40.61"}); o.rate > 0 || fmt.Sprint(rates) != want {
				t.Fatalf("before it is forgotten: %v, then %s, want %s and none", rates, o.says(), want)
			}
			ends := o.now.Add(pause)
			o.now = ends.Add(-2 * o.every)
			if o.offer("d"); !o.since.IsZero() {
				t.Fatalf("a rate is looked for in the %v that none is to be", pause)
			}
			if o.offer("d"); !o.since.Equal(ends) {
				t.Fatalf("no rate is looked for after %v", pause)
			}
			o.best = 90
			o.set(o.now, 90)
		}
	})
	t.Run("L3 not where it has fallen to a third", func(t *testing.T) {
		o := limited(8)
		o.best = 3 * (grantBack * (o.rate / 2))
		if o.offer("+ddd"); o.rate == 0 {
			t.Error("it is forgotten")
		}
	})
}

func TestRateKept(t *testing.T) {
	g := grant{rate: 10}
	for late, want := range map[time.Duration]time.Duration{
		0: 100 * time.Millisecond, 20 * time.Millisecond: 80 * time.Millisecond, 50 * time.Millisecond: 50 * time.Millisecond,
		80 * time.Millisecond: 50 * time.Millisecond, time.Hour: 50 * time.Millisecond,
	} {
		if got := g.next(origin, origin.Add(-late)).Sub(origin); got != want {
			t.Errorf("L3 the next of ten a second, after one that began %v late: in %v, want %v", late, got, want)
		}
	}
}
