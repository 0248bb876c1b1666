package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// rule is one rule of a contract, and what shows that a store keeps it.
type rule[S any] struct {
	name string
	keep func(ctx context.Context, s S) error
}

// check tries every rule on a store of its own.
func check[S any](ctx context.Context, rules []rule[S], open func() (S, error)) error {
	var problems []error
	for _, r := range rules {
		s, err := open()
		if err == nil {
			err = r.keep(ctx, s)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", r.name, err))
		}
	}
	return errors.Join(problems...)
}

// run makes a subtest of each rule.
func run[S any](t *testing.T, rules []rule[S], open func(t *testing.T) S) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if err := r.keep(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}
