package queuetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

func TestFaultsOfLimits(t *testing.T) { runFaults(t, faultsOfLimits()) }

// sharing makes a fault of a function that changes every request and its answer.
func sharing(request func(*queue.LimitRequest), answer func(queue.LimitRequest, *queue.LimitShare)) func(h *hooked) {
	return func(h *hooked) {
		h.share = func(q *memory.Queue, ctx context.Context, now time.Time, list []queue.LimitRequest) ([]queue.LimitShare, error) {
			asked := append([]queue.LimitRequest{}, list...)
			for i := range asked {
				if request != nil {
					request(&asked[i])
				}
			}
			got, err := q.ShareLimits(ctx, now, asked...)
			for i := range got {
				if answer != nil {
					answer(list[i], &got[i])
				}
			}
			return got, err
		}
	}
}

func faultsOfLimits() []fault {
	return []fault{
		{"everybody has the whole limit", []string{"W4", "W5"}, sharing(nil, func(r queue.LimitRequest, s *queue.LimitShare) {
			s.Connections, s.Rate = min(r.Want, r.Connections), r.Rate
		})},
		{"a share takes effect at once, whatever its claimer has", []string{"W4"}, sharing(func(r *queue.LimitRequest) {
			r.Have, r.HaveRate = 0, 0
		}, nil)},
		{"a share of the rate alone takes effect at once", []string{"W4"}, sharing(func(r *queue.LimitRequest) { r.HaveRate = 0 }, nil)},
		{"a share lasts for as long as it is kept", []string{"W4", "W5"}, sharing(nil, func(_ queue.LimitRequest, s *queue.LimitShare) {
			s.Until = s.Until.Add(queue.ShareHold - queue.ShareLength)
		})},
		{"nobody wants less than others", []string{"W5"}, sharing(func(r *queue.LimitRequest) { r.Want = max(r.Want, min(r.Want*100, 100)) }, nil)},
		{"names are not told apart", []string{"W4"}, sharing(func(r *queue.LimitRequest) { r.Limit = "any" }, nil)},
		{"the first has what cannot be divided", []string{"W5"}, func(h *hooked) {
			h.share = func(q *memory.Queue, ctx context.Context, now time.Time, list []queue.LimitRequest) ([]queue.LimitShare, error) {
				got, err := q.ShareLimits(ctx, now, list...)
				for i := range got {
					if r := &list[i]; r.Claimer == "c" {
						got[i].Connections = 0
					}
				}
				return got, err
			}
		}},
		{"a claim answers nothing", []string{"W4"}, func(h *hooked) {
			h.claim = func(q *memory.Queue, ctx context.Context, now time.Time, want queue.ClaimOptions) (queue.Claimed, error) {
				want.Limits = nil
				return q.Claim(ctx, now, want)
			}
		}},
	}
}
