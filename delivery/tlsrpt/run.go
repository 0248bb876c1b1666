package tlsrpt

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// Times of Run.
const (
	atOnce   = 16               // reports
	lookAt   = 10 * time.Minute // at the clock, which may be set, and go on while the machine sleeps
	atTheEnd = 5 * time.Second  // for the last save
	tryStore = time.Minute      // after it has failed
)

// Run saves the counts, and sends the reports of each day after the day has ended. It
// returns the error of ctx when ctx ends. Several Reporters that share a Store may run
// at the same time. When Run begins, it also sends the reports of the last three days
// that are still due.
func (r *Reporter) Run(ctx context.Context) error {
	if err := r.Validate(); err != nil {
		return err
	}
	r.init()
	var saving sync.WaitGroup
	saving.Go(func() { r.keepSaving(ctx) })
	r.keepSending(ctx)
	saving.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), atTheEnd)
	defer cancel()
	r.save(last)
	return ctx.Err()
}

func (r *Reporter) save(ctx context.Context) {
	if err := r.Save(ctx); err != nil && ctx.Err() == nil {
		r.Trace.storeFailed(err)
	}
}

func (r *Reporter) keepSaving(ctx context.Context) {
	ticker := time.NewTicker(r.saveEvery())
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.save(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// task is the report of a day and a domain, as far as this Reporter has to do with it.
type task struct {
	at      time.Time // the time of the next step; zero if it is done
	day     Day
	domain  string
	tallies []Tally

	began   time.Time // when it was looked at first
	lookups int       // that failed in a row
	known   Delivery  // what the Store has, as far as is known
}

// agenda are tasks by their time.
type agenda []*task

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }

// Push and Pop are for package heap.
func (a *agenda) Push(x any) { *a = append(*a, x.(*task)) }

// Pop implements heap.Interface.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	t := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	return t
}

// keepSending has the reports sent, each at its time.
func (r *Reporter) keepSending(ctx context.Context) {
	var (
		waiting agenda
		planned = make(map[Day]bool)
		ended   = make(chan *task)
		running = 0
	)
	defer func() {
		for ; running > 0; running-- {
			<-ended
		}
	}()
	for ctx.Err() == nil {
		wake := earliest(r.plan(ctx, &waiting, planned), time.Now().Add(lookAt))
		for len(waiting) > 0 && running < atOnce {
			if at := waiting[0].at; time.Now().Before(at) {
				if at.Before(wake) {
					wake = at
				}
				break
			}
			t := heap.Pop(&waiting).(*task)
			running++
			go func() {
				r.attempt(ctx, t)
				ended <- t
			}()
		}
		timer := time.NewTimer(time.Until(wake))
		select {
		case t := <-ended:
			running--
			if !t.at.IsZero() {
				heap.Push(&waiting, t)
			}
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// plan adds the reports of the days that have ended and are not planned yet, and says when
// to call it again.
func (r *Reporter) plan(ctx context.Context, waiting *agenda, planned map[Day]bool) (next time.Time) {
	now := time.Now()
	today := DayOf(now)
	next = r.settled(today)
	for day := today - keptDays; day < today; day++ {
		if planned[day] {
			continue
		}
		if at := r.settled(day); now.Before(at) {
			next = at
			continue
		}
		if err := r.planDay(ctx, day, waiting); err != nil {
			if ctx.Err() == nil {
				r.Trace.storeFailed(err)
			}
			next = now.Add(tryStore)
			continue
		}
		planned[day] = true
	}
	for day := range planned {
		if day < today-keptDays {
			delete(planned, day)
		}
	}
	return next
}

// planDay adds the reports of one day.
func (r *Reporter) planDay(ctx context.Context, day Day, waiting *agenda) error {
	if err := r.Save(ctx); err != nil {
		return err
	}
	merged, err := r.merged(ctx, day)
	if err != nil {
		return err
	}
	r.Trace.leftOut(day, merged.LeftOut(day)+r.Counts.LeftOut(day))
	now := time.Now()
	for domain, tallies := range ByDomain(merged.Tallies(day)) {
		t := &task{day: day, domain: domain, tallies: tallies, at: r.due(day, domain)}
		if t.at.Before(now) {
			// After an outage many are late: not all of them at the same time.
			t.at = now.Add(t.at.Sub(r.settled(day)) / 8)
		}
		heap.Push(waiting, t)
	}
	r.targets.forget(day - keptDays)
	return r.store().Forget(ctx, DayOf(now)-keptDays)
}
