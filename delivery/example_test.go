package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// hello is a message as a program would send it.
func hello(to ...string) *queue.Message {
	m := &queue.Message{
		From:    "alice@example.org",
		Content: queue.String("From: alice@example.org\nSubject: Hello\n\nHow are you?\n"),
	}
	for _, address := range to {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: address})
	}
	return m
}

// One attempt: the better host is down, the other one takes the message. The
// names and hosts are in memory; a program that sends real mail leaves Resolver
// and Dial out.
func ExampleSender() {
	dns := &mxtest.DNS{Zone: `
		$ORIGIN example.com.
		@     MX  10 mail
		@     MX  20 mx2
		mail  A   192.0.2.1
		mx2   A   192.0.2.2`}
	second := &smtptest.Host{Name: "mx2.example.com", Extensions: []string{"PIPELINING", "CHUNKING"}}
	network := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.2": second}}
	defer network.Close()

	sender := &delivery.Sender{Hello: "client.example.org", Resolver: dns, Dial: network.DialContext}
	defer sender.Close()

	report, err := sender.Send(context.Background(), hello("bob@example.com"))
	fmt.Println("error:", err)
	for _, r := range report.Recipients {
		fmt.Println(r.Address, "was", r.Outcome, "by", r.Host)
		for _, a := range r.Attempts {
			fmt.Println("  ", a.Host, a.Verdict, "->", a.Next)
		}
	}
	fmt.Println("messages there:", len(second.Messages()))
	// Output:
	// error: <nil>
	// bob@example.com was delivered by mx2.example.com
	//    mail.example.com not now -> next address
	//    mx2.example.com taken -> settled
	// messages there: 1
}

// What one recipient gets does not touch the others. The error is that of the
// one who fared worst; each has its own in the report.
func ExampleSender_Send() {
	internet := &smtptest.Internet{
		Zone: "example.com. MX 10 mail.example.com.\nmail.example.com. A 192.0.2.1",
		Hosts: map[string]*smtptest.Host{"mail.example.com": {Script: []smtptest.Cue{
			{At: smtptest.Rcpt, Nth: 2, Reply: "450 4.2.2 Mailbox full"},
			{At: smtptest.Rcpt, Nth: 3, Reply: "550 5.1.1 No such user"},
		}}},
	}
	defer internet.Close()
	sender := &delivery.Sender{Hello: "client.example.org", Resolver: internet, Dial: internet.DialContext}
	defer sender.Close()

	report, err := sender.Send(context.Background(), hello("bob@example.com", "full@example.com", "nobody@example.com"))
	for _, r := range report.Recipients {
		fmt.Println(r.Address, r.Outcome, r.Reply.Code, r.Reply.Enhanced)
	}
	if e, ok := errors.AsType[*delivery.Error](err); ok {
		fmt.Println(e)
		fmt.Println("stage:", e.Stage, "temporary:", e.Temporary())
	}
	// Output:
	// bob@example.com delivered 250 2.0.0
	// full@example.com deferred 450 4.2.2
	// nobody@example.com failed 550 5.1.1
	// mail.example.com (192.0.2.1:25): rcpt: 550 5.1.1 No such user (nobody@example.com); 1 of 3 delivered
	// stage: rcpt temporary: false
}

// Where would the mail go, and why? Nothing is connected to.
func ExampleSender_Explain() {
	dns := &mxtest.DNS{Zone: `
		$ORIGIN example.com.
		@      MX  10 mail
		@      MX  20 gone
		@      MX  30 backup
		mail   A   192.0.2.1
		backup A   127.0.0.1`}
	sender := &delivery.Sender{Resolver: dns, TLS: mx.TLSVerify}

	explanation, _ := sender.Explain(context.Background(), "alice@example.org", "example.com")
	fmt.Print(explanation)
	// Output:
	// example.com: mail goes by MX records
	//    1. 10    mail.example.com 192.0.2.1; TLS required, certificate for mail.example.com (configuration)
	//   --  20    gone.example.com: it has no address
	//   --  30    backup.example.com: it is this host
}

// A Router with fields of its own: one that refuses to be led into private
// networks, for a program whose users choose the domains.
func ExampleByMX() {
	dns := &mxtest.DNS{Zone: `
		example.com.       MX  10 inside.example.com.
		inside.example.com. A  10.0.0.25`}
	sender := &delivery.Sender{Router: delivery.ByMX(&mx.Router{Resolver: dns, RefusePrivate: true})}
	defer sender.Close()

	_, err := sender.Send(context.Background(), hello("bob@example.com"))
	if e, ok := errors.AsType[*delivery.Error](err); ok {
		fmt.Println(e.Stage, e.Enhanced, "temporary:", e.Temporary())
	}
	// Output:
	// dns 5.4.4 temporary: false
}

// The dialogue of one call. A Trace in the Sender sees those of all calls.
func ExampleWithTrace() {
	internet := &smtptest.Internet{
		Zone:  "example.com. A 192.0.2.1", // no MX record: the domain is its own mail host
		Hosts: map[string]*smtptest.Host{"example.com": {Extensions: []string{"SIZE 1000000"}}},
	}
	defer internet.Close()
	sender := &delivery.Sender{Hello: "client.example.org", Resolver: internet, Dial: internet.DialContext}
	defer sender.Close()

	ctx := delivery.WithTrace(context.Background(), &delivery.Trace{
		Line: func(_ string, _ netip.AddrPort, l delivery.Line) {
			if l.Sent {
				verb, _, _ := strings.Cut(l.Text, ":")
				fmt.Println(verb)
			}
		},
	})
	if _, err := sender.Send(ctx, hello("bob@example.com")); err != nil {
		fmt.Println(err)
	}
	// Output:
	// EHLO client.example.org
	// MAIL FROM
	// RCPT TO
	// DATA
	// <57 octets of content>
}

// What is no address is known before anybody is asked.
func ExampleValidateEnvelope() {
	fmt.Println(delivery.ValidateEnvelope(hello("bob@example.com", `"odd one"@example.com`, "bob@[192.0.2.1]")))
	err := delivery.ValidateEnvelope(hello("bob@example.com>\r\nRCPT TO:<eve@example.net"))
	if e, ok := errors.AsType[*delivery.Error](err); ok {
		fmt.Println(e.Stage, e.Enhanced, "temporary:", e.Temporary())
	}
	// Output:
	// <nil>
	// message 5.1.3 temporary: false
}

// The verdict table, a row at a time.
func ExampleJudge() {
	fmt.Println(delivery.Judge(delivery.StageBanner, 554, ""))
	fmt.Println(delivery.Judge(delivery.StageMail, 451, "4.7.1"))
	fmt.Println(delivery.Judge(delivery.StageRcpt, 550, "5.1.1"))
	fmt.Println(delivery.Judge(delivery.StageContent, 250, "2.0.0"))
	// Output:
	// refused by this host
	// not now
	// refused
	// taken
}

// A table of one's own begins with the package's. Here a refusal of our address
// (5.7.x at MAIL) is tried again later: it is not about the message.
func ExampleJudge_replaced() {
	internet := &smtptest.Internet{
		Zone: "example.com. A 192.0.2.1",
		Hosts: map[string]*smtptest.Host{"example.com": {Script: []smtptest.Cue{
			{At: smtptest.Mail, Reply: "550 5.7.1 Your address is on a list"},
		}}},
	}
	defer internet.Close()
	sender := &delivery.Sender{
		Hello: "client.example.org", Resolver: internet, Dial: internet.DialContext,
		Judge: func(stage delivery.Stage, code int, enhanced string) delivery.Verdict {
			if stage == delivery.StageMail && strings.HasPrefix(enhanced, "5.7.") {
				return delivery.NotNow
			}
			return delivery.Judge(stage, code, enhanced)
		},
	}
	defer sender.Close()

	report, _ := sender.Send(context.Background(), hello("bob@example.com"))
	fmt.Println(report.Recipients[0].Outcome)
	// Output:
	// deferred
}
