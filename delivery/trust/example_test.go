package trust_test

import (
	"context"
	"fmt"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/queue"
)

// A Sender that goes by DANE and MTA-STS.
func Example() {
	// An Internet with one host, whose TLSA records are those of another certificate.
	internet := &smtptest.Internet{
		Zone: `
			example.com                 MX   10 mail.example.com.
			mail.example.com            A    192.0.2.25
			_25._tcp.mail.example.com   TLSA 3 1 1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f`,
		Signed: map[string]bool{"example.com": true},
		Hosts:  map[string]*smtptest.Host{"mail.example.com": {Extensions: []string{"STARTTLS"}}},
	}
	defer internet.Close()

	sender := &delivery.Sender{
		Resolver: internet,
		Policy:   &trust.Source{Resolver: internet},
		Dial:     internet.DialContext,
	}
	defer sender.Close()

	report, err := sender.Send(context.Background(), &queue.Message{
		From: "a@from.example", Recipients: []queue.Recipient{{Address: "b@example.com"}}, Content: queue.String("Subject: hello\r\n\r\nhello\r\n"),
	})
	fmt.Println(err)
	decision := report.Recipients[0].Decision
	fmt.Println(decision.Accepted, decision.Result, decision.Reason, decision.Fault)
	// Output:
	// mail.example.com (192.0.2.25:25): starttls: DANE for mail.example.com: refused: no certificate matches a TLSA record (the operator of the receiving host can correct this)
	// false certificate-not-trusted tlsa-no-match host
}
