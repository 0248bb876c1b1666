package smtptest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// A whole Internet: the primary refuses, the secondary takes the message. In a
// test, put this into a bubble of testing/synctest and use Start(t).
func Example() {
	in := &smtptest.Internet{
		Zone: `
			$ORIGIN example.com.
			@    MX   10 mx1
			@    MX   20 mx2
			mx1  A    192.0.2.1
			mx2  A    192.0.2.2`,
		Hosts: map[string]*smtptest.Host{
			"mx1.example.com": {Script: []smtptest.Cue{{At: smtptest.Banner, Reply: "554 5.3.2 closed for today"}}},
			"mx2.example.com": {Extensions: []string{"PIPELINING", "CHUNKING", "STARTTLS"}},
		},
	}
	defer in.Close()
	sender := &delivery.Sender{Hello: "client.example", Resolver: in, Dial: in.DialContext}
	_, err := sender.Send(context.Background(), &queue.Message{
		From:       "alice@client.example",
		Recipients: []queue.Recipient{{Address: "bob@example.com"}},
		Content:    queue.String("Subject: hello\r\n\r\nHello, Bob.\r\n"),
	})
	sender.Close()
	fmt.Println("error:", err)
	fmt.Println("visits:", in.Visits())
	for _, m := range in.Hosts["mx2.example.com"].Messages() {
		fmt.Printf("%s for %s, inside TLS: %t\n", m.From, m.To(), m.TLS)
	}
	// Output:
	// error: <nil>
	// visits: [mx1.example.com mx2.example.com]
	// alice@client.example for [bob@example.com], inside TLS: true
}

// A host that greylists refuses a recipient until some time has passed since the first
// attempt. The agent keeps the mail and tries again. In a test, put this into a bubble of
// testing/synctest, in which five minutes take no time; here it is a tenth of a second.
func ExampleCue_greylisting() {
	host := &smtptest.Host{
		Name:   "mx.example.com",
		Script: []smtptest.Cue{{At: smtptest.Rcpt, Until: 100 * time.Millisecond, Reply: "450 4.7.1 Greylisted"}},
	}
	in := &smtptest.Internet{
		Zone:  "example.com. MX 10 mx.example.com.\nmx.example.com. A 192.0.2.1",
		Hosts: map[string]*smtptest.Host{host.Name: host},
	}
	defer in.Close()
	var deferred sync.Once // more often on a slow machine
	delivered := make(chan struct{})
	agent := &delivery.Agent{
		Queue:    &memory.Queue{},
		Sender:   &delivery.Sender{Hello: "client.example", Resolver: in, Dial: in.DialContext},
		Settings: delivery.Settings{Schedule: delivery.Delays{150 * time.Millisecond}},
		Events: func(_ context.Context, e delivery.Event) {
			switch e.Kind {
			case delivery.Deferred:
				deferred.Do(func() { fmt.Println("deferred:", e.Code, e.Reply) })
			case delivery.Delivered:
				fmt.Println("delivered to", e.Recipient)
				close(delivered)
			}
		},
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- agent.Run(ctx) }()
	_, err := agent.Submit(ctx, &queue.Message{
		From: "alice@client.example", Recipients: []queue.Recipient{{Address: "bob@example.com"}},
		Content: queue.String("Subject: hello\r\n\r\nHello, Bob.\r\n"),
	})
	if err != nil {
		fmt.Println(err)
	}
	<-delivered
	stop()
	<-ended
	// Output:
	// deferred: 450 4.7.1 Greylisted
	// delivered to bob@example.com
}

// say sends lines and returns the first line of the answer.
func say(conn io.ReadWriter, text string) string {
	_, _ = io.WriteString(conn, text)
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line)
}

// A client that talks before it has been greeted, and hangs up without QUIT.
func ExampleHost_Violations() {
	h := &smtptest.Host{Name: "mx.example.com"}
	client, server := smtptest.Pipe()
	_, _ = io.WriteString(client, "EHLO client.example\r\n")
	_ = client.CloseWrite()
	h.Serve(context.Background(), server)
	client.Close()
	for _, v := range h.Violations() {
		fmt.Println(v.Rule, "-", v.Rule.Section())
	}
	// Output:
	// talk before the greeting - RFC 5321 section 4.3.1
	// connection closed without QUIT - RFC 5321 section 4.1.1.10
}

// A Host says what its script tells it, and keeps a transcript.
func ExamplePipe() {
	h := &smtptest.Host{
		Name:   "mx.example.com",
		Script: []smtptest.Cue{{At: smtptest.Hello, Reply: "421 4.3.2 going down", Then: smtptest.Close}},
	}
	client, server := smtptest.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); h.Serve(context.Background(), server) }()
	fmt.Println(say(client, ""))
	fmt.Println(say(client, "EHLO client.example\r\n"))
	<-done
	for _, line := range h.Connections()[0].Lines {
		fmt.Println(line)
	}
	// Output:
	// 220 mx.example.com ESMTP
	// 421 4.3.2 going down
	// S: 220 mx.example.com ESMTP
	// C: EHLO client.example
	// S: 421 4.3.2 going down
}

// Certificates that a client can be told to trust.
func ExampleNewAuthority() {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		fmt.Println(err)
		return
	}
	h := &smtptest.Host{Name: "mx.example.com", Authority: ca, Extensions: []string{"STARTTLS"}}
	config := ca.ClientConfig()
	config.ServerName = h.Name
	fmt.Println(ca.Root().Subject.CommonName, ca.Root().NotBefore.Year(), ca.Root().NotAfter.Year())
	// Output:
	// smtptest authority 1999 2099
}

// A reply that is longer than any client should read.
func ExampleLines() {
	fmt.Print(smtptest.Lines(250, 3, "more"))
	// Output:
	// 250-more
	// 250-more
	// 250 more
}

// All rules there are, and where each stands.
func ExampleRules() {
	binding := 0
	for _, r := range smtptest.Rules() {
		if r.Binding() {
			binding++
		}
	}
	fmt.Println(binding > 30, smtptest.RuleDot.Section())
	// Output:
	// true RFC 5321 section 4.5.2
}
