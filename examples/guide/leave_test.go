package guide

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestSendAndLeave: mail for a host that is down is delivered by a later call.
func TestSendAndLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, dir := internet().Start(t), t.TempDir()
		in.Cut(host)
		for _, subject := range []string{"one", "two"} {
			sender := &delivery.Sender{Hello: "app.example.org", Resolver: in, Dial: in.DialContext}
			if err := SendAndLeave(t.Context(), dir, sender, &queue.Message{
				From: "cron@example.org", Recipients: []queue.Recipient{{Address: "bob@example.com"}},
				Content: queue.String("Subject: " + subject + "\n\nDone.\n"),
			}); err != nil {
				t.Error(err)
			}
			in.Heal(host)
			time.Sleep(24 * time.Hour)
		}
		if n := len(in.Hosts[host].Messages()); n != 2 {
			t.Errorf("%d messages arrived, want 2", n)
		}
		in.Check(t)
	})
}
