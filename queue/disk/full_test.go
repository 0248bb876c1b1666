package disk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
)

// fullRig is a spool on a device that Put has filled.
type fullRig struct {
	t   *testing.T
	rng *rand.Rand
	fs  *crashfs.FS
	o   Options
	s   *Spool
	now time.Time

	steps int
	size  int             // of each message
	put   map[string]bool // acknowledged
	sent  map[string]int  // how often each was sent
}

func newFullRig(t *testing.T, device crashfs.Device, o Options, size int) *fullRig {
	t.Helper()
	r := &fullRig{t: t, rng: rand.New(rand.NewPCG(1, uint64(device.Room))), fs: crashfs.New(uint64(device.Room)), o: o,
		now: time.Unix(1e9, 0), size: size, put: map[string]bool{}, sent: map[string]int{}}
	r.fs.SetDevice(device)
	r.open()
	for {
		id, err := r.putOne()
		if err != nil {
			if !errors.Is(err, queue.ErrFull) {
				t.Fatalf("Put on a device that gets full = %v", err)
			}
			break
		}
		r.put[id] = true
	}
	return r
}

func (r *fullRig) open() {
	r.t.Helper()
	s, err := openByHand(r.fs, r.o)
	if err != nil {
		r.t.Fatalf("open on a full device: %v", err)
	}
	r.s = s
}

// kill ends the program and opens the spool again.
func (r *fullRig) kill() {
	r.t.Helper()
	r.fs = r.fs.Kill()
	r.open()
}

// putOne puts a message to two recipients at one destination.
func (r *fullRig) putOne() (string, error) {
	to := fmt.Sprintf("d%d.example", r.rng.IntN(8))
	return r.s.Put(context.Background(), r.now, &queue.Message{From: "a@example.org", Content: queue.Bytes(make([]byte, r.size)),
		Recipients: []queue.Recipient{{Address: "a@" + to}, {Address: "b@" + to}}})
}

// claim takes all that is due.
func (r *fullRig) claim() []queue.Delivery {
	r.t.Helper()
	c, err := r.s.Claim(context.Background(), r.now, queue.ClaimOptions{Max: 1 << 20})
	must(r.t, err)
	if len(c.Unreadable) > 0 {
		r.t.Fatalf("unreadable on a full device: %v", c.Unreadable[0].Err)
	}
	return c.Deliveries
}

// settle settles one delivery so that each recipient has the outcome that f gives
// it; the delivered are sent first.
func (r *fullRig) settle(d *queue.Delivery, f func(index int) queue.Outcome, create ...*queue.Message) queue.Settled {
	r.t.Helper()
	b := queue.Settlement{Lease: d.Lease, NotBefore: r.now.Add(time.Minute), Create: create}
	for _, st := range d.States {
		o := f(st.Index)
		if o == queue.Delivered {
			r.sent[fmt.Sprint(d.Lease.Message, " ", st.Index)]++
		}
		b.Results = append(b.Results, queue.Result{Recipient: st.Index, Outcome: o, Reply: queue.Reply{Code: 451, Text: "later, please"}})
	}
	done, err := r.s.Settle(context.Background(), r.now, []queue.Settlement{b})
	if err == nil {
		err = done[0].Err
	}
	if err != nil {
		r.t.Fatalf("Settle on a full device, reserve %d of %v: %v", r.s.spare.size, r.needed(), err)
	}
	return done[0]
}

func (r *fullRig) needed() string {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	ends, moves, parts, all := r.s.roomNeeded()
	return fmt.Sprintf("%d, %d, %d, %d", ends, moves, parts, all)
}

// work does what the spool does by itself.
func (r *fullRig) work() {
	r.t.Helper()
	r.s.mu.Lock()
	due := r.s.maintenanceDue()
	r.s.mu.Unlock()
	if r.steps++; r.steps%20 == 0 {
		must(r.t, r.s.save())
	}
	if due {
		if err := r.s.maintain(context.Background()); err != nil && !errors.Is(err, queue.ErrFull) {
			r.t.Fatalf("maintenance on a full device: %v", err)
		}
	}
}

// drained holds that everything has left, nothing was sent twice, and mail is taken
// again.
func (r *fullRig) drained() {
	r.t.Helper()
	total, err := r.s.Total(context.Background())
	must(r.t, err)
	if total.Messages > 0 {
		r.t.Errorf("%d messages are left of %d", total.Messages, len(r.put))
	}
	for k, n := range r.sent {
		if n != 1 {
			r.t.Errorf("%s was sent %d times", k, n)
			break
		}
	}
	if len(r.sent) > 0 && len(r.sent) != 2*len(r.put) {
		r.t.Errorf("%d recipients were sent to, want %d", len(r.sent), 2*len(r.put))
	}
	for range 3 {
		if _, err := r.putOne(); err != nil {
			r.t.Errorf("Put after everything has left = %v", err)
		}
	}
	must(r.t, r.s.Close())
	r.open()
	if _, err := r.putOne(); err != nil {
		r.t.Errorf("Put after a restart = %v", err)
	}
	must(r.t, r.s.Close())
}

func always(o queue.Outcome) func(int) queue.Outcome { return func(int) queue.Outcome { return o } }

// fullDevices calls f with devices of many sizes that show a lack of room in each
// way in which one can.
func fullDevices(t *testing.T, f func(t *testing.T, r *fullRig)) {
	few, large := Options{}, Options{SegmentSize: 32 << 10, LargeContent: 3000}
	for _, c := range []struct {
		name string
		d    crashfs.Device
		o    Options
		size int
	}{
		{"120 KiB", crashfs.Device{Room: 120 << 10}, few, 10},
		{"120 KiB, large", crashfs.Device{Room: 120 << 10}, large, 4000},
		{"400 KiB", crashfs.Device{Room: 400 << 10}, few, 10},
		{"400 KiB, large", crashfs.Device{Room: 400 << 10}, large, 4000},
		{"2 MiB", crashfs.Device{Room: 2 << 20}, few, 4000},
		{"300 KiB that show when saved", crashfs.Device{Room: 300 << 10, AtSync: true}, few, 10},
		{"400 KiB that show when saved", crashfs.Device{Room: 400 << 10, AtSync: true}, few, 4000},
		{"400 KiB that show when saved, large", crashfs.Device{Room: 400 << 10, AtSync: true}, large, 4000},
		{"copy on write", crashfs.Device{Room: 400 << 10, CopyOnWrite: true}, few, 1000},
		{"what is open is not deleted", crashfs.Device{Room: 400 << 10, KeepsOpen: true}, few, 1000},
		{"quota", crashfs.Device{Room: 400 << 10, Quota: true}, few, 1000},
		{"quota, short segments", crashfs.Device{Room: 400 << 10, Quota: true}, large, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newFullRig(t, c.d, c.o, c.size)
			if len(r.put) == 0 {
				t.Fatal("there was no room from the beginning")
			}
			f(t, r)
		})
	}
}

func TestFullDeviceDrains(t *testing.T) {
	t.Run("in order", func(t *testing.T) {
		fullDevices(t, func(t *testing.T, r *fullRig) {
			for _, d := range r.claim() {
				r.settle(&d, always(queue.Delivered))
				r.work()
			}
			r.drained()
		})
	})
	t.Run("at random, with restarts", func(t *testing.T) {
		fullDevices(t, func(t *testing.T, r *fullRig) {
			for list := r.claim(); len(list) > 0; list = r.claim() {
				r.rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
				for i := range list[:(len(list)+1)/2] {
					r.settle(&list[i], always(queue.Delivered))
					if i%5 == 0 {
						r.work()
					}
				}
				r.kill()
			}
			r.drained()
		})
	})
	t.Run("dropped one by one", func(t *testing.T) {
		fullDevices(t, func(t *testing.T, r *fullRig) {
			for id := range r.put {
				if err := r.s.Drop(context.Background(), id); err != nil {
					t.Fatalf("Drop on a full device = %v", err)
				}
				r.work()
			}
			r.drained()
		})
	})
	t.Run("deferred again and again first", func(t *testing.T) {
		fullDevices(t, func(t *testing.T, r *fullRig) {
			for range 12 {
				for _, d := range r.claim() {
					r.settle(&d, always(queue.Deferred))
					r.work()
				}
				r.now = r.now.Add(time.Hour)
			}
			for _, d := range r.claim() {
				r.settle(&d, always(queue.Delivered))
				r.work()
			}
			r.drained()
		})
	})
	t.Run("one recipient after the other", func(t *testing.T) {
		fullDevices(t, func(t *testing.T, r *fullRig) {
			for round := range 2 {
				for _, d := range r.claim() {
					r.settle(&d, func(index int) queue.Outcome {
						if index == round {
							return queue.Delivered
						}
						return queue.Deferred
					})
					r.work()
				}
				r.now = r.now.Add(time.Hour)
			}
			r.drained()
		})
	})
}

// TestFullDeviceReports has all mail of a full device fail, with a report each that
// has to be queued: none is lost and none told twice, and mail that can be delivered
// is not sent again for want of room for the report of another recipient.
func TestFullDeviceReports(t *testing.T) {
	fullDevices(t, func(t *testing.T, r *fullRig) {
		ctx := context.Background()
		told := map[string]int{} // message and recipient
		reports, kept := 0, 0
		for round := 0; ; round++ {
			list := r.claim()
			if len(list) == 0 {
				if total, _ := r.s.Total(ctx); total.Messages == 0 || round > 300 {
					break
				}
				r.now = r.now.Add(2 * time.Minute)
				continue
			}
			for _, d := range list {
				if d.Message.From == "" { // a report
					b := queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: 0, Outcome: queue.Delivered}}}
					done, err := r.s.Settle(ctx, r.now, []queue.Settlement{b})
					must(t, err)
					must(t, done[0].Err)
					reports++
					r.work()
					continue
				}
				done := r.settle(&d, func(index int) queue.Outcome {
					return []queue.Outcome{queue.Delivered, queue.Failed}[index]
				}, &queue.Message{Content: queue.Bytes(make([]byte, 200+r.size/4)), Recipients: []queue.Recipient{{Address: "a@example.org"}}})
				if done.NoRoom {
					kept++
					if len(done.Created) > 0 {
						t.Errorf("no room, and %v was created", done.Created)
					}
				} else {
					told[d.Lease.Message]++
				}
				r.work()
			}
			if round > 300 {
				t.Fatal("it never ends")
			}
		}
		for id := range r.put {
			if told[id] != 1 {
				t.Errorf("%s: told %d times of the one who failed", id, told[id])
				break
			}
		}
		if reports != len(r.put) {
			t.Errorf("%d reports for %d messages", reports, len(r.put))
		}
		for k, n := range r.sent {
			if n != 1 {
				t.Errorf("%s was sent %d times", k, n)
				break
			}
		}
		r.sent = nil
		r.drained()
		t.Logf("%d messages, %d settlements without room for the report", len(r.put), kept)
	})
}
