package smtptest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// The README has this test as it stands here.

func TestPrimaryDownForTwoHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := &smtptest.Host{}
		internet := (&smtptest.Internet{
			Zone:  "example.com. MX 10 mail.example.com.\nmail.example.com. A 192.0.2.1",
			Hosts: map[string]*smtptest.Host{"mail.example.com": mail},
		}).Start(t)
		agent := &delivery.Agent{
			Queue:  &memory.Queue{},
			Sender: &delivery.Sender{Hello: "app.example.org", Resolver: internet, Dial: internet.DialContext},
		}
		go agent.Run(t.Context())
		internet.Cut("mail.example.com")
		agent.Submit(t.Context(), &queue.Message{
			From:       "app@example.org",
			Recipients: []queue.Recipient{{Address: "bob@example.com"}},
			Content:    queue.String("Subject: Hello\n\nStill there?\n"),
		})
		time.Sleep(2 * time.Hour)
		internet.Heal("mail.example.com")
		time.Sleep(3 * time.Hour)
		if got := mail.Messages(); len(got) != 1 || got[0].From != "app@example.org" {
			t.Errorf("arrived: %v", got)
		}
		internet.Check(t) // fails the test if a rule of SMTP was broken, and names its section
	})
}
