package postgres

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Postpone postpones destinations. Postponements without an owner are stored, all of a
// call with one statement.
func (q *Queue) Postpone(ctx context.Context, now time.Time, list ...queue.Postponement) error {
	var shared []queue.Postponement
	lifted, own := false, false
	for _, p := range list {
		lifted = lifted || p.Until.IsZero()
		if p.Owner == "" {
			p.Destination = plain(p.Destination)
			// The last of a destination counts; then none waits for another call's.
			shared = slices.DeleteFunc(shared, func(o queue.Postponement) bool { return o.Destination == p.Destination })
			shared = append(shared, p.Bounded())
		}
	}
	slices.SortFunc(shared, func(a, b queue.Postponement) int { return cmp.Compare(a.Destination, b.Destination) })
	err := q.call(ctx, func(ctx context.Context) error {
		q.now(now)
		for _, p := range list {
			if p.Owner != "" && !own {
				q.own.set(p)
			}
		}
		own = true // if the rest is done again
		return q.postpone(ctx, shared)
	})
	if err != nil {
		return err
	}
	if lifted {
		q.changed()
	}
	return nil
}

// postpone postpones destinations for everybody.
func (q *Queue) postpone(ctx context.Context, list []queue.Postponement) error {
	if len(list) == 0 {
		return nil
	}
	names, until, reasons := []string{}, []*int64{}, [][]byte{}
	for _, p := range list {
		names = append(names, p.Destination)
		until = append(until, q.maybeAt(p.Until))
		reasons = append(reasons, reason(p.Reason))
	}
	_, err := q.pool.Exec(ctx, q.sql("SELECT {schema}.postpone_v1($1::text[], $2::bigint[], $3::bytea[])"), names, until, reasons)
	return err
}

// ownPostponements are those that have an owner: of this handle, in memory.
type ownPostponements struct {
	mu  sync.Mutex
	all map[string]map[string]time.Time // by owner and destination
}

// set does what a postponement with an owner says.
func (o *ownPostponements) set(p queue.Postponement) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case !p.Until.IsZero():
		if o.all == nil {
			o.all = make(map[string]map[string]time.Time)
		}
		if o.all[p.Owner] == nil {
			o.all[p.Owner] = make(map[string]time.Time)
		}
		o.all[p.Owner][p.Destination] = p.Until.Round(0)
	case p.Destination == "":
		delete(o.all, p.Owner)
	default:
		delete(o.all[p.Owner], p.Destination)
	}
}

// at returns what is postponed for an owner, and when the first of that ends. What is over
// is forgotten.
func (o *ownPostponements) at(now time.Time, owner string) (names []string, ends time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, list := range o.all {
		for destination, until := range list {
			switch {
			case !until.After(now):
				delete(list, destination)
			case name == owner:
				names = append(names, destination)
				if ends.IsZero() || until.Before(ends) {
					ends = until
				}
			}
		}
		if len(list) == 0 {
			delete(o.all, name)
		}
	}
	return names, ends
}
