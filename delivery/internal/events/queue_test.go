package events_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/events"
)

// rig is a queue of numbers, and a hook that takes the time of pause for each.
type rig struct {
	t *testing.T
	events.Queue[int]
	pause time.Duration
	grow  time.Duration   // by which each call of the hook takes longer than the one before
	ctx   context.Context // of the last call
	got   []int
	eased atomic.Int32
	busy  atomic.Int32
}

func bubble(t *testing.T, test func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) { test(t, &rig{t: t}) })
}

func (r *rig) hook() events.Hook[int] {
	return events.Hook[int]{
		Tell: func(ctx context.Context, n *int) {
			if r.busy.Add(1) > 1 {
				r.t.Error("two calls of the hook at the same time")
			}
			r.pause += r.grow
			time.Sleep(r.pause)
			r.ctx, r.got = ctx, append(r.got, *n)
			r.busy.Add(-1)
		},
		Eased: func() { r.eased.Add(1) },
	}
}

// add adds numbers, as users do.
func (r *rig) add(list ...int) {
	if r.Add(list...) {
		go r.Serve(r.hook())
	}
}

// key is that of a value of the application.
type key struct{}

// run runs the queue; stop ends that.
func (r *rig) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { r.Run(ctx, r.hook()); close(ended) }()
	return func() { cancel(); <-ended }
}

// upTo are the numbers from 0, n of them.
func upTo(n int) (list []int) {
	for i := range n {
		list = append(list, i)
	}
	return list
}

// told wants the first n numbers to have been passed on, in order, and none to wait.
func (r *rig) told(n int) {
	r.t.Helper()
	r.Rest()
	if !slices.Equal(r.got, upTo(n)) || r.Waiting() != 0 {
		r.t.Errorf("%d events were passed on, and %d wait; want all %d, in order", len(r.got), r.Waiting(), n)
	}
}

// TestOrder: events are passed on once and in order, whether a Run is there or not, and
// also while one begins or ends.
func TestOrder(t *testing.T) {
	t.Run("without a Run", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.pause = time.Second
			for i := range 100 {
				r.add(2*i, 2*i+1)
				time.Sleep(time.Duration(i%5) * time.Second)
			}
			r.told(200)
		})
	})
	t.Run("with a Run, which passes on what is left at its end", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.pause = time.Second
			r.add(0, 1, 2)
			stop := r.run()
			if r.Add(3) {
				t.Error("somebody else is to pass events on")
			}
			time.Sleep(time.Minute)
			if r.Add(4) {
				t.Error("somebody else is to pass events on while Run waits for some")
			}
			time.Sleep(time.Minute)
			if n := r.Waiting(); n != 0 {
				t.Errorf("%d events wait although Run has nothing to do", n)
			}
			r.add(5, 6)
			stop()
			if n := r.Waiting(); n != 0 {
				t.Errorf("%d events wait when Run has returned", n)
			}
			r.add(7)
			r.told(8)
		})
	})
	t.Run("with a Run whose context has ended before it begins", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.Add(0, 1)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			go r.Serve(r.hook())
			r.Run(ctx, r.hook())
			if n := r.Waiting(); n != 0 {
				t.Errorf("%d events wait when Run has returned", n)
			}
			r.add(2)
			r.told(3)
		})
	})
	t.Run("by Serve only until a Run takes over", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.pause = time.Second
			served := make(chan time.Time, 1)
			r.Add(0, 1)
			go func() { r.Serve(r.hook()); served <- time.Now() }()
			synctest.Wait()
			began := time.Now()
			stop := r.run()
			r.add(2, 3, 4)
			if took := (<-served).Sub(began); took != 2*time.Second {
				t.Errorf("Serve has returned after %v, want when it has passed on the events that it had", took)
			}
			stop()
			r.told(5)
		})
	})
	t.Run("while Runs begin and end", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.pause = 3 * time.Millisecond
			const n = 1000
			go func() {
				for i := range n {
					r.add(i)
					time.Sleep(time.Duration(i%7) * time.Millisecond)
				}
			}()
			for range 50 {
				stop := r.run()
				time.Sleep(20 * time.Millisecond)
				stop()
				time.Sleep(20 * time.Millisecond)
			}
			time.Sleep(time.Minute)
			r.told(n)
		})
	})
	t.Run("more than is kept for reuse", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			stop := r.run()
			synctest.Wait()
			r.add(upTo(3 * events.Max)...)
			time.Sleep(time.Second)
			r.add(3 * events.Max)
			time.Sleep(time.Second)
			r.add(3*events.Max + 1)
			stop()
			r.told(3*events.Max + 2)
		})
	})
}

// TestRest: all who wait until no goroutine passes events on go on then.
func TestRest(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.pause = time.Second
		r.add(0, 1, 2)
		began, rested := time.Now(), make(chan time.Duration)
		for range 3 {
			go func() { r.Rest(); rested <- time.Since(began) }()
		}
		for range 3 {
			if got := <-rested; got != 3*time.Second {
				t.Errorf("one has waited for %v, want until the three events are passed on", got)
			}
		}
	})
}

// TestRoom: there is room for fewer than Max events, and after that when half of them have
// been passed on, which is told once.
func TestRoom(t *testing.T) {
	t.Run("until half of them are left", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.pause = time.Second
			r.add(upTo(events.Max - 1)...)
			synctest.Wait() // the hook has been called with the first
			if !r.Room() {
				t.Error("there is no room although there are fewer than Max events")
			}
			if r.add(events.Max - 1); r.Room() || r.Waiting() != events.Max {
				t.Errorf("there is room although %d events wait", r.Waiting())
			}
			time.Sleep((events.Max/2-1)*time.Second + time.Second/2)
			if r.Room() || r.eased.Load() != 0 {
				t.Errorf("there is room when %d events wait", r.Waiting())
			}
			time.Sleep(time.Second)
			if !r.Room() || r.eased.Load() != 1 || r.Waiting() != events.Max/2 {
				t.Errorf("there is no room when %d events wait, or this was told %d times", r.Waiting(), r.eased.Load())
			}
			r.told(events.Max)
			if r.eased.Load() != 1 {
				t.Errorf("that there is room was told %d times, want once", r.eased.Load())
			}
		})
	})
	t.Run("nor while more come, of which there are fewer", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.pause = time.Second
			r.add(upTo(events.Max)...)
			time.Sleep(events.Max/4*time.Second + time.Second/2)
			if r.add(events.Max); r.Room() {
				t.Errorf("there is room when %d events wait, of %d", r.Waiting(), events.Max)
			}
			r.told(events.Max + 1)
		})
	})
}

// TestWait: who waits for room goes on when there is some, also several, and not before.
func TestWait(t *testing.T) {
	t.Run("for room", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.pause = time.Second
			if err := r.Wait(t.Context()); err != nil {
				t.Errorf("while there is room: %v", err)
			}
			r.add(upTo(events.Max)...)
			began, waited := time.Now(), make(chan time.Duration)
			for range 3 {
				go func() {
					if err := r.Wait(t.Context()); err != nil {
						t.Error(err)
					}
					waited <- time.Since(began)
				}()
			}
			for range 3 {
				if got := <-waited; got != events.Max/2*time.Second {
					t.Errorf("one has waited for %v, want until half of the events are passed on", got)
				}
			}
			r.Rest()
		})
	})
	t.Run("until the context ends", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.pause = time.Second
			r.add(upTo(events.Max)...)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := r.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the error is %v", err)
			}
			r.Rest()
		})
	})
	for pause, want := range map[time.Duration]error{59 * time.Second: nil, 121 * time.Second: events.ErrStuck} {
		t.Run("while the hook takes "+pause.String()+" for each event", func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.pause = pause
				r.add(upTo(events.Max)...)
				began := time.Now()
				if err := r.Wait(t.Context()); !errors.Is(err, want) {
					t.Errorf("the error is %v, want %v", err, want)
				}
				if got := time.Since(began); want != nil && got != time.Minute {
					t.Errorf("it was given up after %v, want a minute", got)
				}
				r.Rest()
			})
		})
	}
	t.Run("while the hook takes ever longer", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.grow = 10 * time.Second
			r.add(upTo(events.Max)...)
			if err := r.Wait(t.Context()); !errors.Is(err, events.ErrStuck) {
				t.Errorf("the error is %v, want %v", err, events.ErrStuck)
			}
			if n := events.Max - r.Waiting(); n < 6 || n > 12 {
				t.Errorf("it was given up after %d events, want when one has taken a minute", n)
			}
			r.Rest()
		})
	})
	t.Run("in the hook, not at all", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			r.add(0)
			r.Rest()
			of := r.ctx
			ctx := context.WithValue(of, key{}, "of its own")
			r.pause = time.Second
			r.add(upTo(events.Max)...)
			for _, own := range []context.Context{of, ctx} {
				began := time.Now()
				if err := r.Wait(own); err != nil || time.Since(began) > 0 {
					t.Errorf("the hook has waited for %v, with the error %v", time.Since(began), err)
				}
			}
			other := &rig{t: t, pause: time.Second}
			other.add(upTo(events.Max)...)
			ending, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if err := other.Wait(ending); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the hook of another queue has not waited: %v", err)
			}
			other.Rest()
			r.Rest()
		})
	})
}
