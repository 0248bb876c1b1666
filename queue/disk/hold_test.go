package disk

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/index"
)

// holdWatch notes how long the lock of a spool is held at most, in entries that the
// index looks at or changes, in records put in line and in processor time, while
// something is done.
type holdWatch struct {
	s       *Spool
	work    int
	before  int // records in line
	begun   time.Duration
	thread  int
	holds   int
	entries int
	records int
	longest time.Duration
	wall    time.Duration
	since   time.Time
}

func (w *holdWatch) locked() {
	w.before = w.inLine()
	w.since = time.Now()
	w.begun, w.thread = threadTime()
	w.work = w.s.index.Work()
}

// inLine is how many records wait to be written.
func (w *holdWatch) inLine() (n int) {
	w.s.line.mu.Lock()
	defer w.s.line.mu.Unlock()
	for _, b := range w.s.line.batches {
		for _, t := range b.tickets {
			n += len(t.frames)
		}
	}
	return n
}

func (w *holdWatch) unlocked() {
	now, thread := threadTime()
	w.holds++
	w.wall = max(w.wall, time.Since(w.since))
	w.entries = max(w.entries, w.s.index.Work()-w.work)
	w.records = max(w.records, w.inLine()-w.before)
	if thread == w.thread { // else the one it ran on is not known
		w.longest = max(w.longest, now-w.begun)
	}
}

// entriesMost is how many entries a hold may have: an operation counts its own, and
// each may have a few places in the index.
const entriesMost = 8 * holdMax

// holdRig is a spool with very many deliveries, and a wide message.
type holdRig struct {
	s      *Spool
	w      *holdWatch
	now    time.Time
	later  time.Time
	spread int // destinations
	wide   int // recipients of the wide message
	id     string
	tenant int
	leases []queue.Lease
}

// newHoldRig makes one. Half of the deliveries are for one destination, of many
// tenants. They are in the index alone: nothing here reads them but claims,
// which find that they cannot be read, and that is not what is measured.
func newHoldRig(t testing.TB, entries, wide int) *holdRig {
	t.Helper()
	s, err := Open(t.TempDir(), Options{})
	must(t, err)
	s.byHand = true
	r := &holdRig{s: s, now: time.Unix(1e9, 0), spread: entries / 10, wide: wide, tenant: entries / 100}
	r.later = r.now.Add(time.Hour)
	_, err = s.Put(context.Background(), r.now, r.message("first.example"))
	must(t, err)
	for n := range entries / 2 {
		for _, destination := range []string{"big.example", r.name(n)} {
			e := index.Entry{
				Destination: destination, Tenant: fmt.Sprint(n % r.tenant), Since: index.Micros(r.later) + int64(n*7919%entries), Size: 100,
				Home: s.current.slot, Record: s.current.place(8),
			}
			e.Message = index.Number(s.nextMessage.Add(1)-1, 1)
			s.index.Add([]index.Entry{e})
		}
	}
	r.w = &holdWatch{s: s}
	return r
}

func (r *holdRig) name(n int) string { return fmt.Sprintf("d%d.example", n%r.spread) }

func (r *holdRig) message(destinations ...string) *queue.Message {
	m := &queue.Message{From: "a@b.example", Content: queue.Bytes([]byte("Subject: x\r\n\r\n"))}
	for _, d := range destinations {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: "u@" + d})
	}
	return m
}

// holdOp is one operation that is measured.
type holdOp struct {
	name string
	do   func() error
}

func (r *holdRig) ops() []holdOp {
	ctx, s := context.Background(), r.s
	list := func(owner string, until time.Time) (list []queue.Postponement) {
		for n := range r.wide / 2 {
			list = append(list, queue.Postponement{Destination: r.name(n), Owner: owner, Until: until})
		}
		return list
	}
	wide := make([]string, r.wide)
	for n := range wide {
		wide[n] = fmt.Sprintf("w%d.example", n)
	}
	flush := func(what ...queue.Selection) error {
		_, err := s.Flush(ctx, r.now, what...)
		return err
	}
	claim := func(o queue.ClaimOptions) error {
		c, err := s.Claim(ctx, r.now, o)
		for _, d := range c.Deliveries {
			r.leases = append(r.leases, d.Lease)
		}
		for _, u := range c.Unreadable {
			r.leases = append(r.leases, u.Lease)
		}
		return err
	}
	return []holdOp{
		{"Put of a wide message", func() (err error) {
			r.id, err = s.Put(ctx, r.now, r.message(wide...))
			return err
		}},
		{"Show of it", func() error { _, err := s.Show(ctx, r.id); return err }},
		{"Hold of it", func() error { return s.Hold(ctx, r.id) }},
		{"Release of it", func() error { return s.Release(ctx, r.id) }},
		{"Flush of it", func() error { return flush(queue.Selection{Message: r.id}) }},
		{"compaction of it", func() error {
			number, _ := parseID(r.id)
			g := s.segments.list[s.index.Get(s.slots(number)[0]).Home]
			s.rollNow = true
			if _, err := s.Put(ctx, r.now, r.message("first.example")); err != nil {
				return err
			}
			c := &compaction{s: s, g: g, ctx: ctx, slots: map[index.Slot]bool{}}
			err := c.move()
			if flush := c.flush(); err == nil {
				err = flush
			}
			return err
		}},
		{"Claim of a wide message", func() error { return claim(queue.ClaimOptions{Max: r.wide, PerDestination: 1}) }},
		{"Extend", func() error {
			_, err := s.Extend(ctx, r.now, r.leases, time.Hour)
			return err
		}},
		{"Mark", func() error { return s.Mark(ctx, r.leases) }},
		{"Settle", func() error {
			batch := make([]queue.Settlement, len(r.leases)/2)
			for i := range batch {
				batch[i].Lease, batch[i].NotBefore = r.leases[i], r.later
			}
			_, err := s.Settle(ctx, r.now, batch)
			return err
		}},
		{"Drop of a wide message", func() error { return s.Drop(ctx, r.id) }},
		{"Settle that creates a wide message", func() error {
			if _, err := s.Put(ctx, r.now, r.message("list.example")); err != nil {
				return err
			}
			c, err := s.Claim(ctx, r.now, queue.ClaimOptions{Destinations: []string{"list.example"}})
			if err != nil {
				return err
			}
			done, err := s.Settle(ctx, r.now, []queue.Settlement{{
				Lease: c.Deliveries[0].Lease, Results: []queue.Result{{Outcome: queue.Delivered}},
				Create: []*queue.Message{r.message(wide...)},
			}})
			if err == nil {
				err = done[0].Err
			}
			return err
		}},
		{"Postpone of many destinations", func() error { return s.Postpone(ctx, r.now, list("", r.later)...) }},
		{"Postpone of many for an owner", func() error { return s.Postpone(ctx, r.now, list("me", r.later)...) }},
		{"Postpone of all of an owner's", func() error { return s.Postpone(ctx, r.now, queue.Postponement{Owner: "me"}) }},
		{"Postpone of one with many tenants", func() error {
			return s.Postpone(ctx, r.now, queue.Postponement{Destination: "big.example", Until: r.later})
		}},
		{"Claim after it", func() error { return claim(queue.ClaimOptions{}) }},
		{"Claim of one with many tenants", func() error {
			return claim(queue.ClaimOptions{Destinations: []string{"big.example"}})
		}},
		{"Flush of one with many tenants", func() error { return flush(queue.Selection{Destination: "big.example"}) }},
		{"Flush of many destinations", func() error {
			var what []queue.Selection
			for n := range r.wide / 100 {
				what = append(what, queue.Selection{Destination: r.name(n)})
			}
			return flush(what...)
		}},
		{"Flush of everything", func() error { return flush(queue.Selection{}) }},
		{"Claim with many left out", func() error {
			o := queue.ClaimOptions{Max: 1000, PerTenant: 1}
			for n := range r.wide / 5 {
				o.Except = append(o.Except, r.name(n))
			}
			return claim(o)
		}},
		{"Claim with a large Max", func() error { return claim(queue.ClaimOptions{Max: r.wide}) }},
		{"List from the middle", func() error {
			_, err := s.List(ctx, queue.ListOptions{After: formatID(index.Number(s.nextMessage.Load()/2, 1)), Destination: "first.example", Max: 1000})
			return err
		}},
		{"Survey", func() error { _, err := s.Survey(ctx, "d1", r.wide/10); return err }},
		{"checkpoint", func() error { return s.takeCheckpoint(ctx) }},
	}
}

// measure does one.
func (r *holdRig) measure(t testing.TB, op holdOp) {
	t.Helper()
	runtime.LockOSThread() // so that the thread's time is that of what is done here
	defer runtime.UnlockOSThread()
	*r.w = holdWatch{s: r.s}
	r.s.mu.watch = r.w
	err := op.do()
	r.s.mu.watch = nil
	if err != nil {
		t.Fatalf("%s: %v", op.name, err)
	}
}

// TestHoldsOfTheLockAreShort does with very many deliveries what concerns many of them
// at once: how many entries of the index are looked at or changed while the lock is held
// once must not depend on how many there are. Processor time is printed.
func TestHoldsOfTheLockAreShort(t *testing.T) {
	r := newHoldRig(t, 100_000, 10_000)
	defer r.s.Close()
	for _, op := range r.ops() {
		r.measure(t, op)
		t.Logf("%-36s %7d holds, at most %5d entries, %5d records and %v", op.name, r.w.holds, r.w.entries, r.w.records, r.w.longest)
		if n := max(r.w.entries, r.w.records); n > entriesMost {
			t.Errorf("%s: %d entries or records in one hold of the lock, want at most %d", op.name, n, entriesMost)
		}
	}
}

// BenchmarkLongestHold prints, for each operation that concerns much, how long the lock of
// the spool is held at most, in processor time, in time on the wall and in entries, with
// 100,000 deliveries and a message to 20,000 destinations; NEXTHOP_LONG makes it
// 10,000,000 and 1,000,000. To be run with -benchtime 1x.
func BenchmarkLongestHold(b *testing.B) {
	entries, wide := 100_000, 20_000
	if long() {
		entries, wide = 10_000_000, 1_000_000
	}
	r := newHoldRig(b, entries, wide)
	defer r.s.Close()
	for _, op := range r.ops() {
		b.Run(op.name, func(b *testing.B) {
			r.measure(b, op)
			micros := func(d time.Duration) float64 { return float64(d.Microseconds()) }
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(micros(r.w.longest), "cpu-µs")
			b.ReportMetric(micros(r.w.wall), "wall-µs")
			b.ReportMetric(float64(r.w.entries), "entries")
			b.ReportMetric(float64(r.w.records), "records")
			b.ReportMetric(float64(r.w.holds), "holds")
		})
	}
}

// stateWatch looks at what others may find whenever the lock is given up.
type stateWatch func()

func (w stateWatch) locked()   {}
func (w stateWatch) unlocked() { w() }

// TestP1WideMessageIsThereAsAWhole looks, whenever the lock is given up while a message to
// very many destinations is put, for what others can find of it: nothing, or all.
func TestP1WideMessageIsThereAsAWhole(t *testing.T) {
	const wide = 5 * holdMax
	ctx, now := context.Background(), time.Unix(1e9, 0)
	s, err := openByHand(crashfs.New(1), Options{})
	must(t, err)
	defer s.Close()
	r := &holdRig{s: s}
	destinations := make([]string, wide)
	for n := range destinations {
		destinations[n] = fmt.Sprintf("d%d.example", n)
	}
	part, whole := 0, 0
	s.mu.watch = stateWatch(func() {
		list, _, _ := s.index.List(nil, 0, 10, "")
		if len(list) == 0 {
			if s.index.Len() > 0 {
				part++
			}
			return
		}
		slots, _ := s.index.Slots(nil, list[0], 0, 1<<20)
		if whole++; len(slots) != wide {
			t.Errorf("a message is listed with %d of %d deliveries", len(slots), wide)
		}
	})
	id, err := s.Put(ctx, now, r.message(destinations...))
	s.mu.watch = nil
	must(t, err)
	if part < 3 || whole < 3 {
		t.Errorf("the lock was given up %d times before the message was there and %d times while it became due", part, whole)
	}
	got := map[string]bool{}
	for len(got) < wide {
		c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 1000})
		must(t, err)
		if len(c.Deliveries) == 0 {
			t.Fatalf("%d of %d deliveries were claimed", len(got), wide)
		}
		batch := make([]queue.Settlement, len(c.Deliveries))
		for i, d := range c.Deliveries {
			got[d.Lease.Destination] = true
			batch[i] = queue.Settlement{Lease: d.Lease, Results: []queue.Result{{Recipient: d.States[0].Index, Outcome: queue.Delivered}}}
		}
		settled, err := s.Settle(ctx, now, batch)
		must(t, err)
		for i := range settled {
			must(t, settled[i].Err)
		}
	}
	if _, err := s.Show(ctx, id); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("what was delivered is there: %v", err)
	}
}
