package delivery_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestLastAttempt: mail is offered once after it became due, and once more when its
// time is over.
func TestLastAttempt(t *testing.T) {
	world := func(script ...smtptest.Cue) (*smtptest.Internet, *smtptest.Host) {
		host := &smtptest.Host{Extensions: full(), Script: script}
		return &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}}, host
	}
	t.Run("QUE-4 mail that grew too old while no agent ran is offered once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			net, host := world()
			o := newOffice(t, net)
			m := message("u@e.test")
			m.Expires = o.began.Add(time.Hour)
			o.submit(m)
			pass(2 * time.Hour)
			o.start()
			pass(time.Minute)
			if got := len(host.Messages()); got != 1 || len(o.of(delivery.Delivered)) != 1 {
				t.Errorf("the host has %d messages, events %+v", got, o.of(delivery.Expired))
			}
		})
	})
	t.Run("QUE-4 and has expired if it is not taken then", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			net, _ := world(smtptest.Cue{At: smtptest.Rcpt, Reply: "450 4.2.1 later"})
			o := newOffice(t, net)
			m := message("u@e.test")
			m.Expires = o.began.Add(time.Hour)
			o.submit(m)
			pass(2 * time.Hour)
			o.start()
			pass(time.Minute)
			got := o.of(delivery.Expired)
			if len(got) != 1 || got[0].Attempt != 1 || got[0].Code != 450 || len(o.of(delivery.Deferred)) != 0 {
				t.Errorf("events %+v", got)
			}
		})
	})
	t.Run("QUE-4 the last attempt is due when the message expires", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			net, host := world(smtptest.Cue{At: smtptest.Rcpt, Times: 2, Reply: "450 4.2.1 later"})
			o := newOffice(t, net)
			o.agent.Settings.Schedule = delivery.Delays{40 * time.Minute}
			o.start()
			m := message("u@e.test")
			m.Expires = o.began.Add(time.Hour)
			o.submit(m)
			pass(59 * time.Minute)
			if n := len(o.of(delivery.Deferred)); n != 2 {
				t.Fatalf("%d attempts before the last, want 2", n)
			}
			pass(2 * time.Minute)
			if len(o.of(delivery.Delivered)) != 1 || len(host.Messages()) != 1 {
				t.Errorf("it was not offered when it expired: %+v", o.of(delivery.Expired))
			}
		})
	})
}
