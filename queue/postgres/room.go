package postgres

import (
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// room is what a server has room for.
type room int

const (
	roomForAll     room = iota
	roomForChanges      // of deliveries, and not for messages and outcomes
	roomForEnds         // of deliveries only
)

// noRoomPause is how long recipients that failed wait at least if there was no room for
// the report.
const noRoomPause = time.Minute

// isPartly reports whether a settlement is recorded without the messages that it creates.
func (b *settling) isPartly(i int) bool {
	return len(b.batch[i].Create) > 0 && (b.room > roomForAll || slices.Contains(b.partly, i))
}

// withoutFailed are results but for those of recipients that failed, who stay as they are
// and wait for a while.
func withoutFailed(results []queue.Result, notBefore, now time.Time) ([]queue.Result, time.Time) {
	kept := slices.DeleteFunc(slices.Clone(results), func(r queue.Result) bool { return r.Outcome == queue.Failed })
	if least := now.Add(noRoomPause); len(kept) < len(results) && notBefore.Before(least) {
		notBefore = least
	}
	return kept, notBefore
}

// lessRoom decides again, for a server that has less room. It reports false if what was
// decided needs no more than that.
func (b *settling) lessRoom() bool {
	switch {
	case b.room == roomForAll && len(b.over)+len(b.create) > 0:
		b.room = roomForChanges
	case b.room < roomForEnds && slices.ContainsFunc(b.states, func(after []byte) bool { return after != nil }):
		b.room = roomForEnds
	default:
		return false
	}
	for _, i := range b.at {
		b.settled[i] = queue.Settled{}
	}
	b.decided = undecided()
	b.decide()
	return true
}

// keepInMemory keeps the outcomes of the settlements that were recorded.
func (b *settling) keepInMemory(held []int32) {
	var list []unkeptOutcome
	for k, n := range b.over {
		if slices.Contains(held, n) {
			list = append(list, unkeptOutcome{b.q.at(b.now), b.sums[k], b.outcomes[k]})
		}
	}
	b.q.unkept.add(list, b.q.o.mostOutcomes())
}
