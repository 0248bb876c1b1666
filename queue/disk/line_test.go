package disk

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
)

// sized is a ticket that takes so many bytes of the log.
func sized(n int64, durable bool) *ticket {
	f := frame{}
	f.Body = make([]byte, n-record.FrameSize)
	return &ticket{durable: durable, frames: []frame{f}}
}

// TestBatchesAreBounded puts tickets in line: those that fit one write are one batch, and
// one that is longer is alone.
func TestBatchesAreBounded(t *testing.T) {
	l := &line{}
	for _, n := range []int64{maxBatch / 2, maxBatch / 2, 64, 2 * maxBatch, 64, 64} {
		l.enqueue(sized(n, true))
	}
	var got []int
	for _, b := range l.batches {
		got = append(got, len(b.tickets))
	}
	if want := []int{2, 1, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("the batches have %v tickets, want %v", got, want)
	}
}

// TestWhoWaitsForMore has a line expect more tickets: a batch waits for them that is to be
// saved and has no other behind it. One that need not be saved says nothing about how many
// are to be expected.
func TestWhoWaitsForMore(t *testing.T) {
	for _, c := range []struct {
		tickets []*ticket
		waits   bool
	}{
		{[]*ticket{sized(64, true)}, true},
		{[]*ticket{sized(64, false)}, false},
		{[]*ticket{sized(64, false), sized(64, true)}, false},
		{[]*ticket{sized(maxBatch, true), sized(64, true)}, false},
	} {
		l := &line{gather: gather{expected: 10, patience: time.Hour}}
		for _, one := range c.tickets {
			l.enqueue(one)
		}
		if l.leading == c.waits {
			t.Errorf("%d batches, the first to be saved %v: it waits %v", len(l.batches), l.batches[0].durable, !c.waits)
		}
		if l.gather.timer != nil {
			l.gather.timer.Stop()
		}
	}
	l := &line{gather: gather{expected: 10, patience: time.Hour}}
	l.enqueue(sized(64, false))
	b := l.batches[0]
	l.leave()
	l.next(b, 0)
	if l.gather.expected != 10 {
		t.Errorf("after a batch that was not saved, %d tickets are expected, want 10", l.gather.expected)
	}
}

// TestFlushBehindAPut puts a message that is due later, and flushes its destination, in one
// batch: the message is due at once, and is when the spool is opened again. Either of both
// may be the call that writes.
func TestFlushBehindAPut(t *testing.T) {
	for range 4 {
		flushBehindAPut(t)
	}
}

func flushBehindAPut(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1e9, 0)
	fs, s := openSmall(t)
	id := ""
	var flushed atomic.Bool
	behindASync(t, fs, s, func() {
		m := textMessage("text")
		m.Recipients[0].Address, m.NotBefore = "a@later.example", now.Add(time.Hour)
		var err error
		id, err = s.Put(ctx, now, m)
		must(t, err)
	}, func() {
		fs.Meanwhile(func() { // the flush has time to be answered before the message is saved
			for i := 0; i < 1000 && !flushed.Load(); i++ {
				runtime.Gosched()
			}
		})
		_, err := s.Flush(ctx, now, queue.Selection{Destination: "later.example"})
		must(t, err)
		flushed.Store(true)
	})
	fs.Meanwhile(nil)
	number, _ := parseID(id)
	if e := s.index.Get(s.slots(number)[0]); !e.AtOnce {
		t.Error("the message is not due at once")
	}
	if !dueAtOnce(t, fs.Kill(), id) {
		t.Error("when the spool is opened again, the message is not due at once")
	}
}
