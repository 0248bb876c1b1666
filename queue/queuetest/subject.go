package queuetest

import (
	"errors"
	"io"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// Subject is an implementation under test.
type Subject struct {
	// Open makes an empty queue. Required.
	Open func() (*Instance, error)

	// OpenBounded makes an empty queue that is full before it holds a thousand
	// messages of 1 KiB. Nil for an implementation without a bound.
	OpenBounded func() (*Instance, error)

	// Start is the time at which every case begins; zero is a day in 2030.
	Start time.Time
}

// Instance is one queue under test, and what can be done to it from outside.
// What is nil cannot be done.
type Instance struct {
	// Queue is the queue itself. Required. The kit closes it.
	Queue queue.Queue

	// Reopen opens what the queue has stored, after the kit has closed it.
	Reopen func() (queue.Queue, error)

	// Crash ends the queue as a power cut would, with nobody to close it and
	// everything lost that was not synced, and opens what is left.
	Crash func() (queue.Queue, error)

	// Damage makes what is stored of a message unreadable, envelope, content or
	// both, while the queue is open.
	Damage func(id string) error

	// Advance tells an implementation with a clock of its own how much time has
	// passed.
	Advance func(d time.Duration)
}

// need is what a case asks of a subject.
type need uint16

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
)

// abilities is what a subject can do.
func (s Subject) abilities() (need, error) {
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
	_, is := in.Queue.(queue.Lister)
	set(needList, is)
	_, is = in.Queue.(queue.Holder)
	set(needHold, is)
	_, is = in.Queue.(queue.Dropper)
	set(needDrop, is)
	_, is = in.Queue.(queue.Flusher)
	set(needFlush, is)
	_, is = in.Queue.(queue.Postponer)
	set(needPostpone, is)
	_, is = in.Queue.(queue.Surveyor)
	set(needSurvey, is)
	_, is = in.Queue.(io.Closer)
	set(needClose, is)
	set(needReopen, in.Reopen != nil)
	set(needCrash, in.Crash != nil)
	set(needDamage, in.Damage != nil)
	set(needBound, s.OpenBounded != nil)
	return can, queue.Close(in.Queue)
}

// cases are the checks a subject can be asked to pass.
func (s Subject) cases() ([]check, error) {
	if s.Open == nil {
		return nil, errors.New("queuetest: Subject.Open is nil")
	}
	can, err := s.abilities()
	if err != nil {
		return nil, err
	}
	var cases []check
	for _, c := range allChecks() {
		if c.needs&^can == 0 {
			cases = append(cases, c)
		}
	}
	return cases, nil
}

// open makes the queue for one case.
func (s Subject) open(c check) (*Instance, error) {
	if c.needs&needBound != 0 {
		return s.OpenBounded()
	}
	return s.Open()
}

// start is when a case begins. The default is long after any real clock, so
// that a queue that reads one is found out.
func (s Subject) start() time.Time {
	if s.Start.IsZero() {
		return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	}
	return s.Start
}
