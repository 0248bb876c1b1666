package disk

import (
	"context"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// TestFullDeviceKeepsOutcomes has mail leave a device that Put has filled, while outcomes
// are kept: mail leaves nevertheless, and each outcome is known once, from memory if there
// is no room for it. After a restart none of those that are left is known twice or wrong.
func TestFullDeviceKeepsOutcomes(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(map[bool]string{false: "in one life", true: "with restarts"}[restart], func(t *testing.T) {
			fullDevices(t, func(t *testing.T, r *fullRig) {
				r.o.KeepOutcomes = time.Hour
				must(t, r.s.Close())
				r.open()
				told := follower{heard: map[string]bool{}, lossy: restart}
				for list := r.claim(); len(list) > 0; list = r.claim() {
					for i := range list[:(len(list)+1)/2] {
						r.settle(&list[i], always([]queue.Outcome{queue.Delivered, queue.Failed}[i%2]))
						r.work()
					}
					must(t, told.read(r.s, 100))
					if restart {
						r.kill()
					} else {
						r.now = r.now.Add(queue.DefaultLease)
					}
				}
				must(t, told.read(r.s, 100))
				total, err := r.s.Total(context.Background())
				must(t, err)
				if total.Messages > 0 {
					t.Errorf("%d messages are left of %d", total.Messages, len(r.put))
				}
				if n := len(told.heard); n != 2*len(r.put) {
					t.Errorf("%d outcomes of %d recipients", n, 2*len(r.put))
				}
				must(t, r.s.Close())
			})
		})
	}
}
