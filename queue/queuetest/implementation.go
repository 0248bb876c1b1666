package queuetest

import (
	"errors"
	"io"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Implementation is an implementation under test.
type Implementation struct {
	// Open makes an empty queue. Required.
	Open func() (*Instance, error)

	// OpenBounded makes an empty queue that is full before it holds a thousand
	// messages of 1 KiB. If nil, there is no bound.
	OpenBounded func() (*Instance, error)

	// KeepKeys is for how long the queues that Open makes remember the key of a message
	// that has left. If zero, the cases about this do not apply.
	KeepKeys time.Duration

	// OpenFewKeys makes an empty queue that remembers such keys for KeepKeys and
	// fewer than a hundred of them. If nil, there is no bound.
	OpenFewKeys func() (*Instance, error)

	// OpenOutcomes makes an empty queue that keeps the outcomes of recipients for
	// KeepOutcomes. If nil, the cases about this do not apply.
	OpenOutcomes func() (*Instance, error)
	KeepOutcomes time.Duration

	// OpenFewOutcomes makes one that keeps fewer than a hundred. If nil, there is no bound.
	OpenFewOutcomes func() (*Instance, error)

	// Shared says that several processes share the queue. Package queue asks less of such
	// a queue: order only within one tenant and destination, claims that may stop short,
	// counts that may be late, room that may be given back later.
	Shared bool

	// Start is the time at which every case begins. Default: a day in 2030.
	Start time.Time
}

// Instance is one queue under test, with functions that act on it from outside. All are
// optional.
type Instance struct {
	// Queue is the queue itself. Required. The kit closes it.
	Queue queue.Queue

	// Reopen opens what the queue has stored, after the kit has closed it.
	Reopen func() (queue.Queue, error)

	// Crash ends the queue as a power cut does: it is not closed, and everything that was
	// not synced is lost. Then it opens what is left.
	Crash func() (queue.Queue, error)

	// Damage makes the stored envelope or content of a message unreadable, or both, while
	// the queue is open.
	Damage func(id string) error

	// Share opens another handle on the same queue, like that of another agent. The kit
	// does not close it; kill ends it like the death of its process. If nil, there can be
	// only one handle.
	Share func() (q queue.Queue, kill func(), err error)

	// Fail makes the queue fail for good, while it is open.
	Fail func() error

	// Full takes away the space in which the queue stores messages, or gives it back. For
	// a queue in memory it may do nothing.
	Full func(full bool) error

	// Advance tells an implementation with a clock of its own how much time has
	// passed.
	Advance func(d time.Duration)
}

// need is what a case asks of a subject.
type need uint32

const (
	needList need = 1 << iota
	needHold
	needDrop
	needFlush
	needPostpone
	needSurvey
	needReopen
	needCrash
	needDamage
	needBound
	needClose
	needWait
	needShare
	needFail
	needOrder
	needKeys
	needFewKeys
	needTerms
	needSuspend
	needTake
	needFull
	needLimits
	needOutcomes
	needFewOutcomes
)

// names are what subjects may lack, in the order of their bits.
func (n need) names() (list []string) {
	for i, name := range [...]string{
		"queue.Lister", "queue.Holder", "queue.Dropper", "queue.Flusher", "queue.Postponer", "queue.Surveyor",
		"Instance.Reopen", "Instance.Crash", "Instance.Damage", "Implementation.OpenBounded", "io.Closer", "queue.Waiter",
		"Instance.Share", "Instance.Fail", "order across destinations",
		"Implementation.KeepKeys", "Implementation.OpenFewKeys", "queue.TermHolder", "queue.Suspender", "queue.Taker",
		"Instance.Full", "queue.Sharer", "Implementation.OpenOutcomes", "Implementation.OpenFewOutcomes",
	} {
		if n&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return list
}

// abilities is what a subject can do.
func (s Implementation) abilities() (need, error) {
	in, err := s.Open()
	if err != nil {
		return 0, err
	}
	var can need
	set := func(n need, is bool) {
		if is {
			can |= n
		}
	}
	set(needList, isA[queue.Lister](in.Queue))
	set(needHold, isA[queue.Holder](in.Queue))
	set(needTerms, isA[queue.TermHolder](in.Queue))
	set(needSuspend, isA[queue.Suspender](in.Queue))
	set(needTake, isA[queue.Taker](in.Queue))
	set(needLimits, isA[queue.Sharer](in.Queue))
	set(needDrop, isA[queue.Dropper](in.Queue))
	set(needFlush, isA[queue.Flusher](in.Queue))
	set(needPostpone, isA[queue.Postponer](in.Queue))
	set(needSurvey, isA[queue.Surveyor](in.Queue))
	set(needClose, isA[io.Closer](in.Queue))
	set(needWait, isA[queue.Waiter](in.Queue))
	set(needReopen, in.Reopen != nil)
	set(needCrash, in.Crash != nil)
	set(needDamage, in.Damage != nil)
	set(needShare, in.Share != nil)
	set(needFail, in.Fail != nil)
	set(needFull, in.Full != nil)
	set(needBound, s.OpenBounded != nil)
	set(needOrder, !s.Shared)
	set(needKeys, s.KeepKeys > 0)
	set(needFewKeys, s.OpenFewKeys != nil)
	set(needOutcomes, s.OpenOutcomes != nil)
	set(needFewOutcomes, s.OpenFewOutcomes != nil)
	return can, queue.Close(in.Queue)
}

// isA reports whether a queue, or one that it wraps, has an ability.
func isA[T any](q queue.Queue) bool {
	_, ok := queue.As[T](q)
	return ok
}

// cases are the checks a subject can be asked to pass, and those it cannot.
func (s Implementation) cases() (can need, asked, unasked []check, err error) {
	if s.Open == nil {
		return 0, nil, nil, errors.New("queuetest: Implementation.Open is nil")
	}
	if can, err = s.abilities(); err != nil {
		return 0, nil, nil, err
	}
	for _, c := range allChecks() {
		if c.needs&^can == 0 {
			asked = append(asked, c)
		} else {
			unasked = append(unasked, c)
		}
	}
	return can, asked, unasked, nil
}

// NotAsked returns what a subject lacks for the cases that do not apply to it: interfaces
// of its queue and functions of its Instance, each with the number of cases that need it.
func NotAsked(s Implementation) (map[string]int, error) {
	can, _, unasked, err := s.cases()
	if err != nil {
		return nil, err
	}
	lacks := make(map[string]int)
	for _, c := range unasked {
		for _, name := range (c.needs &^ can).names() {
			lacks[name]++
		}
	}
	return lacks, nil
}

// open makes the queue for one case.
func (s Implementation) open(c check) (*Instance, error) {
	switch {
	case c.needs&needBound != 0:
		return s.OpenBounded()
	case c.needs&needFewKeys != 0:
		return s.OpenFewKeys()
	case c.needs&needFewOutcomes != 0:
		return s.OpenFewOutcomes()
	case c.needs&needOutcomes != 0:
		return s.OpenOutcomes()
	}
	return s.Open()
}

// start is when a case begins. The default is long after any real clock, so
// that a queue that reads one is found out.
func (s Implementation) start() time.Time {
	if s.Start.IsZero() {
		return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	}
	return s.Start
}
