package delivery_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

func TestAgentDelivers(t *testing.T) {
	t.Run("QUE-1 at once, and what cannot go at once later", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{
				{At: smtptest.Rcpt, Times: 2, Reply: "450 4.2.1 later"},
			}}
			o := newOffice(t, &smtptest.Internet{Zone: zone, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
			o.start()
			id := o.submit(message("u@e.test"))
			pass(time.Hour)
			got := o.of(delivery.Delivered)
			if len(got) != 1 || got[0].ID != id || got[0].Attempt != 3 {
				t.Fatalf("delivered %+v, want the message at the third attempt", got)
			}
			if at := got[0].Time.Sub(o.began); at < 20*time.Minute || at > 21*time.Minute {
				t.Errorf("delivered after %v, want 5 and 15 minutes", at)
			}
			if n := o.left(); n != 0 {
				t.Errorf("%d deliveries are left", n)
			}
		})
	})
}

func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, &smtptest.Internet{Zone: zone}).start()
		synctest.Wait()
		if err := o.agent.Run(context.Background()); err == nil {
			t.Error("a second Run at once has no error")
		}
		o.stop()
		if _, err := o.agent.Submit(t.Context(), &queue.Message{}); err == nil {
			t.Error("an empty message was taken")
		}
	})
}
