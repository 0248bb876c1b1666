package queuetest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Bench measures an implementation. The measurements are the same for all:
//
//   - Put of 4 KiB with one writer and with 64;
//   - a message of 4 KiB that is put, claimed and settled as delivered, with 64
//     goroutines;
//   - claims of ten deliveries, at most two for one destination, and their deferral, with
//     a backlog of 100,000 due deliveries to 1,000 destinations (with -short, a tenth of
//     that).
//
// In addition to the time, it reports messages per second and, if the system provides it,
// the CPU time of the whole process per message.
func Bench(b *testing.B, s Implementation) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("Put/writers=%d", writers), func(b *testing.B) { newBench(b, s).puts(writers) })
	}
	b.Run("Life/writers=64", func(b *testing.B) { newBench(b, s).lives(64) })
	b.Run("Claim/backlog", func(b *testing.B) { newBench(b, s).backlog() })
}

// bench is one benchmark on a queue of its own.
type bench struct {
	*testing.B
	ctx context.Context
	q   queue.Queue
	now time.Time
	cpu time.Duration
}

const benchSize = 4 << 10

func newBench(b *testing.B, s Implementation) *bench {
	b.Helper()
	b.ReportAllocs()
	in, err := s.Open()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := queue.Close(in.Queue); err != nil {
			b.Error(err)
		}
	})
	return &bench{B: b, ctx: b.Context(), q: in.Queue, now: s.start()}
}

// message is mail of some size to one of 1,000 destinations.
func (b *bench) message(n, size int) *queue.Message {
	return &queue.Message{
		From:       "sender@example.org",
		Recipients: []queue.Recipient{{Address: fmt.Sprintf("rcpt%d@d%d.example", n, n%1000)}},
		Content:    queue.Bytes(bytes.Repeat([]byte("0123456789abcde\n"), size/16)),
	}
}

// share runs do for each of n numbers, by so many goroutines.
func (b *bench) share(workers, n int, do func(i int) error) {
	b.Helper()
	var (
		group sync.WaitGroup
		next  atomic.Int64
		fails atomic.Pointer[error]
	)
	for range workers {
		group.Go(func() {
			for fails.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					fails.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	group.Wait()
	if err := fails.Load(); err != nil {
		b.Fatal(*err)
	}
}

// timed measures the time and the CPU time of what do does.
func (b *bench) timed(do func()) {
	before := cpuTime()
	b.StartTimer()
	do()
	b.StopTimer()
	b.cpu += cpuTime() - before
}

// report reports what a message cost.
func (b *bench) report(messages int) {
	b.ReportMetric(float64(messages)/b.Elapsed().Seconds(), "msgs/s")
	if b.cpu > 0 {
		b.ReportMetric(float64(b.cpu.Microseconds())/float64(messages), "cpu-µs/msg")
	}
}

// put puts a message.
func (b *bench) put(m *queue.Message) error {
	_, err := b.q.Put(b.ctx, b.now, m)
	return err
}

// puts measures Put. What was put is taken out again now and then, out of the
// measurement, so that the queue does not grow with the number of runs.
func (b *bench) puts(writers int) {
	const batch = 20_000
	m := b.message(0, benchSize)
	b.SetBytes(benchSize)
	b.StopTimer()
	for left := b.N; left > 0; left -= batch {
		b.timed(func() {
			b.share(writers, min(left, batch), func(int) error { return b.put(m) })
		})
		if left > batch {
			b.drain()
		}
	}
	b.report(b.N)
}

// drain settles everything.
func (b *bench) drain() {
	b.Helper()
	for {
		n, err := b.deliver(1000)
		if err != nil {
			b.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

// deliver claims some deliveries and settles them as delivered.
func (b *bench) deliver(most int) (int, error) {
	got, err := b.q.Claim(b.ctx, b.now, queue.ClaimOptions{Max: most})
	if err != nil {
		return 0, err
	}
	batch := make([]queue.Settlement, len(got.Deliveries))
	for i, d := range got.Deliveries {
		batch[i] = queue.Settlement{
			Lease:   d.Lease,
			Results: []queue.Result{{Recipient: d.States[0].Index, Outcome: queue.Delivered}},
		}
	}
	return len(batch), b.settle(batch)
}

func (b *bench) settle(batch []queue.Settlement) error {
	if len(batch) == 0 {
		return nil
	}
	settled, err := b.q.Settle(b.ctx, b.now, batch)
	for _, s := range settled {
		if err == nil {
			err = s.Err
		}
	}
	return err
}

// lives measures the life of a message.
func (b *bench) lives(writers int) {
	messages := make([]*queue.Message, 1000)
	for i := range messages {
		messages[i] = b.message(i, benchSize)
	}
	b.SetBytes(benchSize)
	b.StopTimer()
	b.timed(func() {
		b.share(writers, b.N, func(i int) error {
			if err := b.put(messages[i%len(messages)]); err != nil {
				return err
			}
			_, err := b.deliver(1)
			return err
		})
	})
	b.report(b.N)
}

// backlog measures claims and deferrals in a deep queue.
func (b *bench) backlog() {
	deep := 100_000
	if testing.Short() {
		deep /= 10
	}
	b.StopTimer()
	b.share(64, deep, func(i int) error { return b.put(b.message(i, 256)) })
	claimed := 0
	b.timed(func() {
		for range b.N {
			n, err := b.postpone()
			if err != nil {
				b.Fatal(err)
			}
			claimed += n
		}
	})
	b.report(claimed)
}

// postpone claims a few deliveries and defers them for an hour; where none is
// left the hour passes.
func (b *bench) postpone() (int, error) {
	got, err := b.q.Claim(b.ctx, b.now, queue.ClaimOptions{Max: 10, PerDestination: 2})
	if err != nil {
		return 0, err
	}
	if len(got.Deliveries) == 0 {
		b.now = b.now.Add(time.Hour)
	}
	batch := make([]queue.Settlement, len(got.Deliveries))
	for i, d := range got.Deliveries {
		batch[i] = queue.Settlement{
			Lease:     d.Lease,
			Results:   []queue.Result{{Recipient: d.States[0].Index, Outcome: queue.Deferred}},
			NotBefore: b.now.Add(time.Hour),
		}
	}
	return len(batch), b.settle(batch)
}
