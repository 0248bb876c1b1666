package delivery_test

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// backlog puts messages into a spool and defers them for a day.
func backlog(t *testing.T, q *disk.Spool, n int) {
	t.Helper()
	var next atomic.Int64
	var putting sync.WaitGroup
	for range 200 {
		putting.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				m := numbered(int(i), queue.AtLeastOnce, fmt.Sprintf("u@later%d.test", i%1000))
				if _, err := q.Put(t.Context(), time.Now(), m); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	putting.Wait()
	for left := n; left > 0; {
		now := time.Now()
		got, err := q.Claim(t.Context(), now, queue.ClaimOptions{Max: 1000})
		if err != nil || len(got.Deliveries) == 0 {
			t.Fatalf("%d left to defer: %v", left, err)
		}
		var batch []queue.Settlement
		for i := range got.Deliveries {
			batch = append(batch, queue.Settlement{Lease: got.Deliveries[i].Lease, NotBefore: now.Add(24 * time.Hour), Results: []queue.Result{
				{Recipient: got.Deliveries[i].States[0].Index, Outcome: queue.Deferred, Reply: queue.Reply{Code: 451, Enhanced: "4.7.1"}},
			}})
		}
		if _, err := q.Settle(t.Context(), now, batch); err != nil {
			t.Fatal(err)
		}
		left -= len(batch)
	}
}

// TestStartGoesOnAtOnce: whatever the backlog, and however the last process ended, the
// first delivery that is due begins half a second after the queue was opened at the
// latest, and after three seconds as much goes out as before.
func TestStartGoesOnAtOnce(t *testing.T) {
	n := 5000
	if os.Getenv("NEXTHOP_LONG") != "" {
		n = 100_000
	}
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("QUE-5 after a crash: %t", crash), func(t *testing.T) {
			dir, copied := t.TempDir(), t.TempDir()+"/after"
			synctest.Test(t, func(t *testing.T) {
				host := slowHost(20 * time.Millisecond)
				o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
				q := spool(t, dir)
				o.queue, o.agent.Queue = q, q
				backlog(t, q, n)
				o.agent.Settings.Limits.PerSite = 4 // 200 a second
				for i := range 2500 {
					o.submit(numbered(n+i, queue.AtLeastOnce, "u@e.test"))
				}
				o.start()
				pass(2 * time.Second)
				first := len(host.Messages())
				pass(time.Second)
				rate := len(host.Messages()) - first
				if crash {
					if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
						t.Fatal(err)
					}
				}
				o.stop()
				closeQueue(t, q)
				if !crash {
					copied = dir
				}
				q = spool(t, copied)
				dials := len(o.net.Network().Dials())
				next := o.again(q).start()
				pass(500 * time.Millisecond)
				if len(o.net.Network().Dials()) == dials {
					t.Error("nothing has begun half a second after the start")
				}
				pass(2500 * time.Millisecond)
				first = len(host.Messages())
				pass(time.Second)
				if now := len(host.Messages()) - first; rate < 150 || now < rate*9/10 {
					t.Errorf("%d a second three seconds after the start, %d before", now, rate)
				}
				next.stop()
				closeQueue(t, q)
			})
		})
	}
}
