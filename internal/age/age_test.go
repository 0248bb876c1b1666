package age_test

import (
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/internal/age"
	"github.com/nexthop-mail/nexthop/internal/age/agetest"
)

// TestSlept: the kit makes the times it says.
func TestSlept(t *testing.T) {
	now := time.Now()
	for _, by := range []time.Duration{0, time.Second, 6 * 24 * time.Hour, -365 * 24 * time.Hour} {
		slept := agetest.Slept(now, by)
		if got := slept.Sub(now); got != 0 {
			t.Errorf("slept for %v: the monotonic clock moved by %v", by, got)
		}
		if got := slept.Round(0).Sub(now.Round(0)); got != by {
			t.Errorf("slept for %v: the wall clock moved by %v", by, got)
		}
	}
}

func TestAge(t *testing.T) {
	then := time.Now()
	until := then.Add(time.Minute)
	for _, c := range []struct {
		what  string
		awake time.Duration // that the monotonic clock counted
		slept time.Duration // that the wall clock went on beside, or was put back
		age   time.Duration
	}{
		{"just now", 0, 0, 0},
		{"awake all the time", 20 * time.Second, 0, 20 * time.Second},
		{"asleep", 20 * time.Second, time.Hour, time.Hour + 20*time.Second},
		{"the wall clock was put back", 20 * time.Second, -time.Hour, 20 * time.Second},
		{"a time to the second", time.Minute, 0, time.Minute},
		{"a time to the second, asleep", 0, time.Minute, time.Minute},
	} {
		now := agetest.Slept(then.Add(c.awake), c.slept)
		if got := age.Between(then, now); got != c.age {
			t.Errorf("%s: %v old, want %v", c.what, got, c.age)
		}
		if got, want := age.Past(until, now), c.age >= time.Minute; got != want {
			t.Errorf("%s: a minute has passed: %v, want %v", c.what, got, want)
		}
		if got, want := age.Left(until, now), time.Minute-c.age; got != want {
			t.Errorf("%s: %v left, want %v", c.what, got, want)
		}
	}
	if got := age.Between(time.Time{}, then); got < 100*365*24*time.Hour {
		t.Errorf("the zero time is %v ago", got)
	}
	if age.Since(then) < 0 || age.Since(then) > time.Hour {
		t.Error("since now is a long time ago")
	}
}
