package mtasts_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
)

// running has a Source refresh its policies, until the test ends.
func (w *world) running(s *mtasts.Source) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			w.t.Errorf("Run returns %v", err)
		}
	}
}

func TestRun(t *testing.T) {
	t.Run("TLS-23 a policy is fetched daily, whatever the record says", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			s.Find(t.Context(), "e.test")
			w.record("")
			stop := w.running(s)
			time.Sleep(25 * time.Hour)
			if n := w.fetched(); n != 2 {
				t.Errorf("fetched %d times after a day, want twice", n)
			}
			time.Sleep(9 * day)
			stop()
			if n := w.fetched(); n < 10 || n > 12 {
				t.Errorf("fetched %d times in ten days", n)
			}
			found := s.Find(t.Context(), "e.test")
			w.want(found, mtasts.Cached, mtasts.Enforce, w.fetched())
			if left := time.Until(found.Expires); left < 6*day-time.Hour {
				t.Errorf("it is in force for another %v: a refresh moves that", left)
			}
		})
	})
	t.Run("TLS-23 a policy of an hour is fetched in time", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.serve("version: STSv1\nmode: enforce\nmx: mx.e.test\nmax_age: 7200")
			s := w.source()
			s.Find(t.Context(), "e.test")
			stop := w.running(s)
			for range 100 {
				time.Sleep(13 * time.Minute)
				if found := s.Find(t.Context(), "e.test"); found.Origin != mtasts.Live {
					t.Fatalf("at %v it is %s", time.Now(), found.String())
				}
			}
			stop()
			if n := w.fetched(); n < 20 || n > 28 {
				t.Errorf("fetched %d times in 22 hours, want about once an hour", n)
			}
		})
	})
	t.Run("TLS-23 a host that is down is tried with growing waits, and somebody is told", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			var failures []int
			s.Trace = &mtasts.Trace{NotRefreshed: func(e mtasts.Entry, n int, err error) {
				if failures = append(failures, n); e.Domain != "e.test" || err == nil {
					t.Errorf("told of %+v, %v", e, err)
				}
			}}
			s.Find(t.Context(), "e.test")
			w.respond("500 Broken", "text/plain", "")
			stop := w.running(s)
			time.Sleep(2 * day)
			synctest.Wait()
			n := w.fetched() - 1
			if n < 8 || n > 12 {
				t.Errorf("tried %d times on the day after, want ten times or so", n)
			}
			if len(failures) != n-2 || failures[0] != 3 {
				t.Errorf("told of %v after %d tries; want it from the third on", failures, n)
			}
			w.serve(goodPolicy)
			time.Sleep(7 * time.Hour)
			stop()
			told := len(failures)
			found := s.Find(t.Context(), "e.test")
			w.want(found, mtasts.Live, mtasts.Enforce, w.fetched())
			if time.Until(found.Expires) < 6*day {
				t.Errorf("once it is up it is in force until %v", found.Expires)
			}
			w.respond("500 Broken", "text/plain", "")
			stop = w.running(s)
			time.Sleep(day + time.Hour)
			stop()
			if len(failures) == told || failures[told] != 3 {
				t.Errorf("after a success the failures are counted %v, want them from 3 again", failures[told:])
			}
		})
	})
	t.Run("TLS-23 a policy that expires is removed", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s, store := w.source(), &mtasts.Memory{}
			s.Store = store
			s.Find(t.Context(), "e.test")
			w.down(true)
			stop := w.running(s)
			time.Sleep(7*day - time.Minute)
			if e, _ := store.Load(t.Context(), "e.test"); e.Domain == "" {
				t.Error("it is removed before its time")
			}
			time.Sleep(2 * time.Hour)
			stop()
			if e, _ := store.Load(t.Context(), "e.test"); e.Domain != "" {
				t.Errorf("it is still there: %+v", e)
			}
		})
	})
	t.Run("TLS-21, TLS-23 of mode none nothing is fetched again, and nobody is told", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			s.Trace = &mtasts.Trace{NotRefreshed: func(mtasts.Entry, int, error) { t.Error("somebody is told") }}
			w.serve("version: STSv1\nmode: none\nmax_age: 604800")
			s.Find(t.Context(), "e.test")
			w.down(true)
			stop := w.running(s)
			time.Sleep(6 * day)
			stop()
			if n := w.fetched(); n != 1 || len(w.dialed) != 1 {
				t.Errorf("fetched %d times, dialled %d times", n, len(w.dialed))
			}
		})
	})
	t.Run("TLS-23 a policy that no mail goes by is left to expire", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.serve("version: STSv1\nmode: enforce\nmx: mx.e.test\nmax_age: 31557600")
			s := w.source()
			s.Find(t.Context(), "e.test")
			stop := w.running(s)
			time.Sleep(20 * day)
			s.Find(t.Context(), "e.test")
			time.Sleep(29 * day)
			during := w.fetched()
			time.Sleep(20 * day)
			stop()
			if n := w.fetched(); n > during+3 || during < 48 {
				t.Errorf("fetched %d times in 49 days, %d in 69; want it to end 30 days after the last use", during, n)
			}
		})
	})
	t.Run("TLS-23 who shares a store is spared the work", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			store := &mtasts.Memory{}
			var stops []func()
			for range 3 {
				s := w.source()
				s.Store = store
				s.Find(t.Context(), "e.test")
				stops = append(stops, w.running(s))
				synctest.Wait()
				time.Sleep(time.Minute)
			}
			time.Sleep(5 * day)
			for _, stop := range stops {
				stop()
			}
			if n := w.fetched(); n > 3*6 {
				t.Errorf("three fetched %d times in five days", n)
			}
		})
	})
	t.Run("TLS-23 many policies", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s, store := w.source(), &mtasts.Memory{}
			s.Store = store
			zone, names := "", []string(nil)
			for i := range 300 {
				domain := fmt.Sprintf("d%03d.test", i)
				zone += "mta-sts." + domain + " A 203.0.113.1\n"
				names = append(names, "mta-sts."+domain)
				e := entry(domain, "1")
				e.Fetched, e.Used = time.Now(), time.Now()
				if err := store.Save(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.SetZone(zone); err != nil {
				t.Fatal(err)
			}
			w.cert, _ = w.certificate(w.caOf, &w.ca, forName(names...))
			stop := w.running(s)
			time.Sleep(day)
			stop()
			if n := w.fetched(); n != 300 {
				t.Errorf("fetched %d times, want each once", n)
			}
		})
	})
}
