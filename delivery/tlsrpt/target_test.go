package tlsrpt_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
)

// Whoever has many domains must not have somebody else flooded, however many agents share
// the store, and however often they start again.
func TestReportsToOneTargetAreBounded(t *testing.T) {
	zone := "r.test A 203.0.113.2\n"
	for i := range 50 {
		zone += fmt.Sprintf("_smtp._tls.d%d.test TXT \"v=TLSRPTv1; rua=mailto:a%d@victim.test,https://r.test/%d\"\n", i, i, i)
	}
	stores := map[string]func(t *testing.T) func() tlsrpt.Store{
		"in memory": func(*testing.T) func() tlsrpt.Store {
			one := &tlsrpt.Memory{}
			return func() tlsrpt.Store { return one }
		},
		"in a directory": func(t *testing.T) func() tlsrpt.Store {
			dir := t.TempDir()
			return func() tlsrpt.Store { return &tlsrpt.Dir{Path: dir} }
		},
	}
	for name, stored := range stores {
		t.Run(name, func(t *testing.T) {
			bubble(t, zone, func(t *testing.T, w *world) {
				open := stored(t)
				begin := func() (all []*tlsrpt.Reporter, stop func()) {
					ctx, cancel := context.WithCancel(t.Context())
					var running sync.WaitGroup
					for range 3 {
						r := w.reporter()
						r.Store, r.MaxPerTarget = open(), 10
						all = append(all, r)
						running.Go(func() { _ = r.Run(ctx) })
					}
					return all, func() { cancel(); running.Wait() }
				}
				for day := range 2 {
					all, stop := begin()
					until(day, time.Hour)
					for i := range 50 {
						all[i%3].Counts.Add(fmt.Sprintf("d%d.test", i), &tlsrpt.Policy{})
					}
					until(day+1, 0)
					for range 12 { // again and again, while reports are sent
						stop()
						_, stop = begin()
						<-time.After(20 * time.Minute)
					}
					until(day+1, 20*time.Hour)
					stop()
					if m, p := len(w.mailed()), len(w.received()); m != 10*(day+1) || p != 10*(day+1) {
						t.Errorf("after %d days there are %d mails and %d posts, want %d", day+1, m, p, 10*(day+1))
					}
				}
			})
		})
	}
}

// Attempts at one report count once.
func TestAttemptsAtOneReportCountOnce(t *testing.T) {
	zone := "r.test A 203.0.113.2\n"
	for i := range 4 {
		zone += fmt.Sprintf("_smtp._tls.d%d.test TXT \"v=TLSRPTv1; rua=https://r.test/%d\"\n", i, i)
	}
	bubble(t, zone, func(t *testing.T, w *world) {
		r := w.reporter()
		r.MaxPerTarget = 3
		var done []tlsrpt.Delivery
		r.Trace = &tlsrpt.Trace{Done: func(d tlsrpt.Delivery) { w.locked(func() { done = append(done, d) }) }}
		w.answerAll(503)
		w.run(r)
		for i := range 4 {
			r.Counts.Add(fmt.Sprintf("d%d.test", i), &tlsrpt.Policy{})
		}
		until(1, 12*time.Hour)
		if n := len(w.reports()); n < 9 {
			t.Errorf("%d attempts", n)
		}
		w.answerAll(200)
		until(2, 12*time.Hour)
		taken := 0
		for _, d := range done {
			taken += len(d.Taken)
		}
		if taken != 3 || len(done) != 4 {
			t.Errorf("%d of %d reports were taken, want 3 of 4: %+v", taken, len(done), done)
		}
	})
}
