package mtasts_test

import (
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
)

// TestClockThatWasAhead: a policy that was stored while the clock was years ahead is in
// force for its time from now on, is renewed as any other, and ends.
func TestClockThatWasAhead(t *testing.T) {
	for _, byMail := range []bool{true, false} {
		bubble(t, func(t *testing.T, w *world) {
			dir := t.TempDir()
			ahead := entry("e.test", "1")
			ahead.Policy = mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"mx.e.test"}, MaxAge: 7 * day}
			ahead.Fetched, ahead.Used = time.Now().AddDate(10, 0, 0), time.Now().AddDate(10, 0, 0)
			if err := (&mtasts.Dir{Path: dir}).Save(t.Context(), ahead); err != nil {
				t.Fatal(err)
			}
			restart := func() *mtasts.Source {
				s := w.source()
				s.Store = &mtasts.Dir{Path: dir}
				return s
			}
			s := restart()
			if byMail {
				w.want(s.Find(t.Context(), "e.test"), mtasts.Live, mtasts.Enforce, 0)
			} else {
				s.Refresh(t.Context())
			}
			pass(day)
			s = restart()
			s.Refresh(t.Context())
			w.want(s.Find(t.Context(), "e.test"), mtasts.Live, mtasts.Enforce, 1)
			w.down(true)
			w.record("")
			pass(6 * day)
			w.want(restart().Find(t.Context(), "e.test"), mtasts.Cached, mtasts.Enforce, w.fetched())
			pass(day + time.Minute)
			w.want(restart().Find(t.Context(), "e.test"), mtasts.NoPolicy, mtasts.None, w.fetched())
		})
	}
	t.Run("clocks of agents that differ a little are no reason to store anything", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			store := &faultyStore{}
			e := entry("e.test", "1")
			e.Policy.Mode = mtasts.Enforce
			e.Fetched, e.Used = time.Now().Add(50*time.Minute), time.Now()
			_ = store.Save(t.Context(), e)
			store.save = errBroken
			s := w.source()
			s.Store, s.Trace = store, &mtasts.Trace{StoreFailed: func(string, error) { t.Error("it is stored") }}
			w.want(s.Find(t.Context(), "e.test"), mtasts.Live, mtasts.Enforce, 0)
		})
	})
}
