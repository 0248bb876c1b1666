package queuetest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/nexthop-mail/nexthop/queue/memory"
	"github.com/nexthop-mail/nexthop/queue/queuetest"
)

// careless is a queue that says it holds a message and does not.
type careless struct{ *memory.Queue }

func (careless) Hold(context.Context, string) error { return nil }

// Test needs no testing.T, and each failure names the case and quotes the rule.
func ExampleTest() {
	fmt.Println(queuetest.Test(queuetest.Implementation{
		Open: func() (*queuetest.Instance, error) {
			return &queuetest.Instance{Queue: new(memory.Queue)}, nil
		},
	}))

	err := queuetest.Test(queuetest.Implementation{
		Open: func() (*queuetest.Instance, error) {
			return &queuetest.Instance{Queue: careless{new(memory.Queue)}}, nil
		},
	})
	var failure *queuetest.Failure
	if errors.As(err, &failure) {
		fmt.Println(failure.Case)
		fmt.Println(failure.Rule[:45] + "...")
	}
	// Output:
	// <nil>
	// A3 a message on hold is not claimed
	// A3. A message on hold is not claimed. A lease...
}
