//go:build unix

package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestQuotaIsCountedAgain: mail that has left is not held against its user, and counting
// takes a small part of the time, however long a count takes.
func TestQuotaIsCountedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waiting, takes, counts := 0, time.Duration(0), 0
		q := newQuota(2, 1000, func(context.Context, string) (usage, error) {
			time.Sleep(takes)
			counts++
			return usage{messages: waiting}, nil
		})
		for i := range 10 {
			if err := q.take(t.Context(), "a", 1); err != nil {
				t.Fatalf("message %d, after the others have left: %v", i+1, err)
			}
		}
		if counts > 5 {
			t.Errorf("%d counts for ten messages", counts)
		}
		waiting, takes = 2, 10*time.Millisecond
		if err := q.take(t.Context(), "b", 1); !errors.Is(err, errQuota) {
			t.Errorf("two wait: %v", err)
		}
		waiting, counts = 0, 0
		if err := q.take(t.Context(), "b", 1); !errors.Is(err, errQuota) || counts > 0 {
			t.Errorf("just after a count of 10 ms: %v, %d counts", err, counts)
		}
		time.Sleep(200 * time.Millisecond)
		if err := q.take(t.Context(), "b", 1); err != nil || counts != 1 {
			t.Errorf("after 200 ms: %v, %d counts", err, counts)
		}
		waiting = 3
		for range 1000 {
			_ = q.take(t.Context(), "b", 1)
			time.Sleep(time.Millisecond)
		}
		if counts > 10 {
			t.Errorf("%d counts of 10 ms in a second", counts)
		}
	})
}
