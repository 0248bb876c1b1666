package tlsrpt_test

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
)

// Whoever is stopped in the middle of a report leaves it to whoever comes next, at once.
func TestAReportThatIsCutShort(t *testing.T) {
	bubble(t, webZone, func(t *testing.T, w *world) {
		store := &tlsrpt.Memory{}
		open := func() *tlsrpt.Reporter {
			r := w.reporter()
			r.Store = store
			return r
		}
		r := open()
		var done []tlsrpt.Delivery
		w.answerAll(0)
		stop := w.run(r)
		r.Counts.Add("e.test", &tlsrpt.Policy{})
		for w.dials() == 0 {
			time.Sleep(time.Second)
		}
		stop()
		w.answerAll(200)
		began := time.Now()
		r = open()
		r.Trace = &tlsrpt.Trace{Done: func(d tlsrpt.Delivery) { w.locked(func() { done = append(done, d) }) }}
		w.run(r)
		for len(w.reports()) == 0 {
			time.Sleep(time.Second)
		}
		// It is late, and so has a time in the next half hour.
		if late := time.Since(began); late > 31*time.Minute {
			t.Errorf("it is sent %v later", late)
		}
		synctest.Wait()
		w.locked(func() {
			if len(done) != 1 || done[0].Attempts != 1 {
				t.Errorf("in the end it is %+v", done)
			}
		})
	})
}

// After an outage, what is late does not go all at the same time.
func TestLateReportsAreSpread(t *testing.T) {
	zone := "r.test A 203.0.113.1\n"
	for i := range 200 {
		zone += fmt.Sprintf("_smtp._tls.d%d.test TXT \"v=TLSRPTv1; rua=https://r.test/%d\"\n", i, i)
	}
	bubble(t, zone, func(t *testing.T, w *world) {
		r := w.reporter()
		for i := range 200 {
			r.Counts.Add(fmt.Sprintf("d%d.test", i), &tlsrpt.Policy{})
		}
		until(1, 12*time.Hour)
		w.run(r)
		minutes := make(map[string]int)
		until(1, 13*time.Hour)
		for _, p := range w.reports() {
			minutes[p.at.Format("15:04")]++
		}
		for minute, n := range minutes {
			if n > 30 {
				t.Errorf("at %s there are %d", minute, n)
			}
		}
		if n := len(w.reports()); n != 200 || len(minutes) < 20 {
			t.Errorf("%d reports in %d minutes", n, len(minutes))
		}
	})
}

// What is over is forgotten, and what was left out is told.
func TestDaysThatAreOver(t *testing.T) {
	bubble(t, webZone, func(t *testing.T, w *world) {
		dir := t.TempDir()
		r := w.reporter()
		r.Store, r.Counts.MaxBytes = &tlsrpt.Dir{Path: dir}, 1000
		var left uint64
		r.Trace = &tlsrpt.Trace{LeftOut: func(_ tlsrpt.Day, n uint64) { w.locked(func() { left += n }) }}
		w.run(r)
		for day := range 10 {
			until(day, time.Hour)
			r.Counts.Add("e.test", &tlsrpt.Policy{})
			if day == 2 {
				for i := range 5 {
					r.Counts.Add(fmt.Sprintf("d%d.test", i), &tlsrpt.Policy{})
				}
			}
		}
		until(10, 12*time.Hour)
		days, err := os.ReadDir(dir)
		if err != nil || len(days) == 0 || len(days) > 4 || days[0].Name() < "2000-01-08" {
			t.Errorf("there are days %v, %v", days, err)
		}
		if got := len(w.reports()); got != 10 {
			t.Errorf("%d reports", got)
		}
		w.locked(func() {
			if left == 0 || left > 5 {
				t.Errorf("%d sessions were left out", left)
			}
		})
	})
}
