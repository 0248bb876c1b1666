package delivery_test

import (
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestEarlyEnd is a walk that ends before every host was asked: what hosts said
// of themselves so far is no answer for the others.
func TestEarlyEnd(t *testing.T) {
	t.Run("a lost answer about another recipient", func(t *testing.T) {
		first := &smtptest.Host{Extensions: []string{"PIPELINING"},
			Script: []smtptest.Cue{{At: smtptest.Final, Then: smtptest.Close}}}
		bubble(t, zone, servers(first, script()), func(t *testing.T, r *rig) {
			report := r.send(t, message("\u00fc@e.test", "u@e.test"))
			want(t, &report.Recipients[0], queue.Deferred, "mx1.e.test", "5.6.7")
			want(t, &report.Recipients[1], queue.Unknown, "mx1.e.test", "4.4.2")
		})
	})
	t.Run("recipients of a transaction that never came", func(t *testing.T) {
		first := script(smtptest.Cue{At: smtptest.Final, Then: smtptest.Close})
		bubble(t, zone, servers(first, script()), func(t *testing.T, r *rig) {
			report := r.send(t, message(addresses(150)...))
			for i := range report.Recipients {
				outcome, host, status := queue.Unknown, "mx1.e.test", "4.4.2"
				if i >= 100 {
					outcome, host, status = queue.Deferred, "", "4.4.0"
				}
				want(t, &report.Recipients[i], outcome, host, status)
			}
		})
	})
}
