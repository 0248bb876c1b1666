package queuetest_test

import (
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
	"github.com/nexthop-mail/nexthop/queue/queuetest"
)

// inMemory is the memory queue as a subject.
func inMemory() queuetest.Implementation {
	return queuetest.Implementation{
		Open: func() (*queuetest.Instance, error) {
			q := new(memory.Queue)
			return &queuetest.Instance{
				Queue: q, Share: func() (queue.Queue, func(), error) { return q, func() {}, nil },
				Full: func(bool) error { return nil },
			}, nil
		},
		KeepKeys: memory.DefaultKeepKeys,
		OpenFewKeys: func() (*queuetest.Instance, error) {
			return &queuetest.Instance{Queue: &memory.Queue{MaxKeys: 64}}, nil
		},
		OpenBounded: func() (*queuetest.Instance, error) {
			return &queuetest.Instance{Queue: &memory.Queue{MaxMessages: 5}}, nil
		},
		KeepOutcomes: time.Hour,
		OpenOutcomes: func() (*queuetest.Instance, error) {
			return &queuetest.Instance{
				Queue: &memory.Queue{KeepOutcomes: time.Hour}, Full: func(bool) error { return nil },
			}, nil
		},
		OpenFewOutcomes: func() (*queuetest.Instance, error) {
			return &queuetest.Instance{Queue: &memory.Queue{KeepOutcomes: time.Hour, MaxOutcomes: 64}}, nil
		},
	}
}

func TestMemory(t *testing.T) { queuetest.Run(t, inMemory()) }
