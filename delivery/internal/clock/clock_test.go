package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

// rig is a clock whose wall clock is set by the test, in virtual time.
type rig struct {
	t     *testing.T
	clock Clock
	off   time.Duration // of the wall clock
	began time.Time
}

func run(t *testing.T, test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, began: time.Now()}
		r.clock.Wall = func() time.Time { return time.Now().Add(r.off) }
		r.clock.Read()
		test(r)
	})
}

// now is what the clock says, since the beginning.
func (r *rig) now(want time.Duration) {
	r.t.Helper()
	if got := r.clock.Now().Sub(r.began); got != want {
		r.t.Errorf("the clock has moved by %v, want %v", got, want)
	}
}

func (r *rig) moved(dated, want time.Duration) {
	r.t.Helper()
	if got := r.clock.Moved(r.began.Add(dated)); got != want {
		r.t.Errorf("what was dated %v is moved by %v, want %v", dated, got, want)
	}
}

func TestSmallSteps(t *testing.T) {
	t.Run("ahead, at once", func(t *testing.T) {
		run(t, func(r *rig) {
			for range 60 {
				time.Sleep(time.Second)
				r.off += 30 * time.Second
				r.clock.Read()
			}
			r.now(31 * time.Minute)
			if n := r.clock.News(); len(n) != 0 || r.clock.Behind() != 0 {
				t.Errorf("taken for jumps: %v", n)
			}
		})
	})
	t.Run("back, by standing still", func(t *testing.T) {
		run(t, func(r *rig) {
			time.Sleep(time.Hour)
			r.now(time.Hour)
			r.off = -40 * time.Second
			r.now(time.Hour)
			time.Sleep(30 * time.Second)
			r.now(time.Hour)
			time.Sleep(30 * time.Second)
			r.now(time.Hour + 20*time.Second)
		})
	})
	t.Run("a clock that goes wrong by less than a thousandth", func(t *testing.T) {
		run(t, func(r *rig) {
			time.Sleep(1000 * time.Hour)
			r.off = 59 * time.Minute
			r.now(1000*time.Hour + r.off)
		})
	})
}

func TestJumps(t *testing.T) {
	const day = 24 * time.Hour
	t.Run("ahead, when it is told to", func(t *testing.T) {
		run(t, func(r *rig) {
			time.Sleep(time.Hour)
			r.off = 6 * day // it slept
			r.now(time.Hour)
			if got := r.clock.Behind(); got != 6*day {
				t.Errorf("it is behind by %v", got)
			}
			if n := r.clock.News(); len(n) != 1 || n[0].By != 6*day {
				t.Errorf("the news are %v", n)
			}
			if n := r.clock.News(); len(n) != 0 {
				t.Errorf("told again: %v", n)
			}
			r.clock.Follow(6 * day)
			r.now(6*day + time.Hour)
			r.moved(0, 6*day)             // is as old as it was
			r.moved(6*day+2*time.Hour, 0) // was dated afterwards
			if got := r.clock.Behind(); got != 0 {
				t.Errorf("it is still behind by %v", got)
			}
		})
	})
	t.Run("back, never", func(t *testing.T) {
		run(t, func(r *rig) {
			time.Sleep(time.Hour)
			r.off = -6 * day
			r.now(time.Hour)
			at := r.clock.Read()
			if got := at.Wall.Sub(r.began); got != time.Hour-6*day {
				t.Errorf("the wall clock says %v", got)
			}
			if got := at.Ahead(at.Wall); !got.Equal(at.Now) {
				t.Errorf("now is %v there, want %v", got, at.Now)
			}
			r.moved(30*time.Minute, -6*day) // dated in what is now the future
			r.moved(-7*day, 0)
			time.Sleep(time.Hour)
			r.now(2 * time.Hour)
			r.moved(90*time.Minute-6*day, 0) // dated afterwards
		})
	})
	t.Run("ahead by a mistake, and back", func(t *testing.T) {
		run(t, func(r *rig) {
			time.Sleep(time.Hour)
			r.off = 365 * day
			r.clock.Read()
			r.clock.Follow(r.clock.Behind())
			r.moved(0, 365*day)
			time.Sleep(time.Hour)
			r.off = 0
			r.now(365*day + 2*time.Hour)
			r.moved(0, 0)
			r.moved(365*day+90*time.Minute, -365*day) // dated by mistake
			r.off = 365 * day
			r.now(365*day + 2*time.Hour) // as it was
			if got := r.clock.Behind(); got != 0 {
				t.Errorf("it is behind by %v", got)
			}
		})
	})
	t.Run("a machine without a clock of its own, which finds out the year", func(t *testing.T) {
		run(t, func(r *rig) {
			const years = 56 * 365 * day
			time.Sleep(time.Minute)
			r.off = years
			r.clock.Read()
			r.clock.Follow(years)
			r.now(years + time.Minute)
			r.moved(30*time.Second, years) // taken in before the year was known
			r.moved(years-day, 0)          // left by the last process, which knew the year
		})
	})
	t.Run("a thousand of them", func(t *testing.T) {
		run(t, func(r *rig) {
			for i := range 1000 {
				time.Sleep(time.Minute)
				r.off = time.Duration(i%2) * day
				r.clock.Read()
				r.clock.Follow(day)
			}
			r.now(1000*time.Minute + day)
			if n := len(r.clock.News()); n != maxJumps {
				t.Errorf("%d are remembered, want %d", n, maxJumps)
			}
		})
	})
}
