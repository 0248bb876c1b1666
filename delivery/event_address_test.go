package delivery_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// TestBadAddress: a failure is blamed on the address only if its status says so.
func TestBadAddress(t *testing.T) {
	const zone = `
		example.com.      MX 10 mail.example.com.
		mail.example.com. A  192.0.2.1
		null.example.     MX 0  .
		lost.example.     MX 10 nowhere.example.`
	for _, c := range []struct {
		name, to, reply string
		want            bool
	}{
		{"unknown mailbox", "bob@example.com", "550 5.1.1 No such user", true},
		{"unknown domain beyond the host", "bob@example.com", "550 5.1.2 No such domain", true},
		{"mailbox that has moved", "bob@example.com", "551 5.1.6 Moved", true},
		{"disabled mailbox", "bob@example.com", "550 5.2.1 Disabled", true},
		{"domain that does not exist", "bob@nowhere.example", "", true},
		{"null MX", "bob@null.example", "", true},
		{"MX host without an address", "bob@lost.example", "", false},
		{"our own address", "bob@example.com", "550 5.1.8 Bad sender's domain", false},
		{"full mailbox", "bob@example.com", "552 5.2.2 Full", false},
		{"policy", "bob@example.com", "550 5.7.1 Blocked", false},
		{"no status", "bob@example.com", "550 No", false},
		{"not for good", "bob@example.com", "450 4.1.1 No such user yet", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := (&smtptest.Internet{Zone: zone, Hosts: map[string]*smtptest.Host{"mail.example.com": {
					Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: c.reply}},
				}}}).Start(t)
				blamed := make(map[delivery.EventKind]bool)
				kept := &memory.Queue{KeepOutcomes: 24 * time.Hour}
				agent := &delivery.Agent{
					Queue:    kept,
					Sender:   &delivery.Sender{Hello: "app.example.org", Resolver: net, Dial: net.DialContext},
					Settings: delivery.Settings{Expire: time.Hour},
					Bounce:   func(delivery.Event) bool { return false },
					Events:   func(_ context.Context, e delivery.Event) { blamed[e.Kind] = e.BadAddress() },
				}
				if _, err := agent.Submit(t.Context(), &queue.Message{
					From: "app@example.org", Recipients: []queue.Recipient{{Address: c.to}},
					Content: queue.String("Subject: Hello\n\nHello.\n"),
				}); err != nil {
					t.Fatal(err)
				}
				for range 6 {
					if err := agent.RunUntilIdle(t.Context()); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Hour)
				}
				page, err := queue.Outcomes(t.Context(), kept, queue.OutcomeOptions{})
				if err != nil || len(page.Outcomes) != 1 || delivery.BadAddress(&page.Outcomes[0]) != c.want {
					t.Errorf("outcomes %+v, %v; want that the address is bad: %t", page.Outcomes, err, c.want)
				}
				bad, failed := blamed[delivery.Failed]
				_, expired := blamed[delivery.Expired]
				delete(blamed, delivery.Failed)
				for kind, is := range blamed {
					if is {
						t.Errorf("an event %v blames the address", kind)
					}
				}
				if bad != c.want || failed == expired {
					t.Errorf("blamed %t (failed %t, expired %t), want %t", bad, failed, expired, c.want)
				}
			})
		})
	}
}
