package delivery_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// A message is submitted, and delivered in the background. What becomes of it is
// told by events. Here the Internet is in memory; with queue/disk in place of
// queue/memory the mail survives the program.
func ExampleAgent() {
	net := &smtptest.Internet{
		Zone: `
			example.com.       MX 10 mail.example.com.
			mail.example.com.  A  192.0.2.1`,
		Hosts: map[string]*smtptest.Host{"mail.example.com": {}},
	}
	defer net.Close()

	done := make(chan delivery.Event)
	agent := &delivery.Agent{
		Queue:  &memory.Queue{},
		Sender: &delivery.Sender{Hello: "mail.example.org", Resolver: net, Dial: net.DialContext},
		Events: func(_ context.Context, e delivery.Event) { done <- e },
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- agent.Run(ctx) }()

	_, err := agent.Submit(ctx, &queue.Message{
		From:       "me@example.org",
		Recipients: []queue.Recipient{{Address: "you@example.com"}},
		Content:    queue.String("Subject: Hello\n\nHello!\n"),
	})
	if err != nil {
		fmt.Println(err)
	}
	for range 2 {
		e := <-done
		fmt.Println(e.Kind, "for", e.Recipient)
	}
	stop()
	fmt.Println("ended:", <-ended)
	// Output:
	// queued for you@example.com
	// delivered for you@example.com
	// ended: <nil>
}

// The wait after each attempt, the last one for all that follow.
func ExampleDelays() {
	schedule := delivery.Delays{time.Minute, 10 * time.Minute, time.Hour}
	for attempt := 1; attempt <= 4; attempt++ {
		fmt.Println(attempt, schedule.Delay(delivery.Retry{Attempts: attempt}))
	}
	// Output:
	// 1 1m0s
	// 2 10m0s
	// 3 1h0m0s
	// 4 1h0m0s
}

// A schedule may go by what was said: here a mailbox that is full is left alone
// for a day, and everything else is tried as usual.
func ExampleSchedule() {
	schedule := patient{delivery.DefaultSchedule()}
	fmt.Println(schedule.Delay(delivery.Retry{Attempts: 1, Reply: queue.Reply{Code: 452, Enhanced: "4.2.2"}}))
	fmt.Println(schedule.Delay(delivery.Retry{Attempts: 1, Reply: queue.Reply{Code: 421, Enhanced: "4.3.2"}}))

	agent := &delivery.Agent{Queue: &memory.Queue{}, Settings: delivery.Settings{Schedule: schedule}}
	fmt.Println(agent.Validate())
	// Output:
	// 24h0m0s
	// 5m0s
	// <nil>
}

type patient struct{ otherwise delivery.Schedule }

func (p patient) Delay(r delivery.Retry) time.Duration {
	if r.Reply.Enhanced == "4.2.2" { // mailbox full (RFC 3463 section 3.3)
		return 24 * time.Hour
	}
	return p.otherwise.Delay(r)
}

// A recipient that is refused is reported to the sender: the report is queued in
// the same step as the failure is recorded.
func ExampleEvent() {
	net := &smtptest.Internet{
		Zone: `
			example.com.       MX 10 mail.example.com.
			mail.example.com.  A  192.0.2.1
			example.org.       MX 10 mail.example.org.
			mail.example.org.  A  192.0.2.2`,
		Hosts: map[string]*smtptest.Host{
			"mail.example.com": {Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "550 5.1.1 No such user"}}},
			"mail.example.org": {},
		},
	}
	defer net.Close()

	done := make(chan struct{})
	agent := &delivery.Agent{
		Queue:  &memory.Queue{},
		Sender: &delivery.Sender{Hello: "mail.example.org", Resolver: net, Dial: net.DialContext},
		Events: func(_ context.Context, e delivery.Event) {
			switch e.Kind {
			case delivery.Failed:
				fmt.Println("failed:", e.Recipient, e.Code, e.Reply) // the text begins with the enhanced code
			case delivery.Bounced:
				fmt.Println("reported to", e.From)
			case delivery.Delivered:
				fmt.Printf("delivered: from <%s> to %s\n", e.From, e.Recipient)
				close(done)
			}
		},
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- agent.Run(ctx) }()
	_, err := agent.Submit(ctx, &queue.Message{
		From:       "me@example.org",
		Recipients: []queue.Recipient{{Address: "nobody@example.com"}},
		Content:    queue.String("Subject: Hello\n\nHello!\n"),
	})
	if err != nil {
		fmt.Println(err)
	}
	<-done
	stop()
	<-ended
	// Output:
	// failed: nobody@example.com 550 5.1.1 No such user
	// reported to me@example.org
	// delivered: from <> to me@example.org
}

// What waits says why, whether an agent runs or not: here a domain is left alone for an
// hour, and one message is on hold.
func ExampleAgent_Why() {
	ctx := context.Background()
	agent := &delivery.Agent{Queue: &memory.Queue{}}
	id, err := agent.Submit(ctx, &queue.Message{
		From:       "alice@example.org",
		Recipients: []queue.Recipient{{Address: "bob@example.com"}, {Address: "carol@example.net"}},
		Content:    queue.String("Subject: hello\r\n\r\nHello.\r\n"),
	})
	if err != nil {
		fmt.Println(err)
	}
	tell := func() {
		waits, err := agent.Why(ctx, id)
		for _, w := range waits {
			fmt.Printf("%s: %v, %v %q\n", w.Recipient, w.State, w.Reason, w.Note)
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	tell()
	domain := queue.Subject{Kind: queue.OfDestination, Name: "example.com"}
	err = agent.Suspend(ctx, queue.Suspension{
		Subject: domain, Terms: queue.Terms{Until: time.Now().Add(time.Hour), Reason: "they asked for it"},
	})
	if err != nil {
		fmt.Println(err)
	}
	tell()
	if err := agent.HoldUntil(ctx, id, queue.Terms{Reason: "looks odd"}); err != nil {
		fmt.Println(err)
	}
	tell()
	fmt.Println(agent.Resume(ctx, domain))
	// Output:
	// bob@example.com: due, new ""
	// carol@example.net: due, new ""
	// bob@example.com: waiting, suspended "they asked for it"
	// carol@example.net: due, new ""
	// bob@example.com: held, held "looks odd"
	// carol@example.net: held, held "looks odd"
	// 1 <nil>
}
