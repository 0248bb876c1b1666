package guide

import (
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestTrustingSender: a domain without DANE has its mail, and one that a rule holds to it
// has not.
func TestTrustingSender(t *testing.T) {
	internet := &smtptest.Internet{
		Zone:  "example.com MX 10 mail.example.com.\npartner.example MX 10 mail.example.com.\nmail.example.com A 192.0.2.1\n",
		Hosts: map[string]*smtptest.Host{"mail.example.com": {Extensions: []string{"STARTTLS"}}},
	}
	internet.Start(t)
	sender := TrustingSender(internet, t.TempDir())
	sender.Dial = internet.DialContext
	defer sender.Close()
	for to, want := range map[string]string{
		"u@example.com": "", "u@partner.example": "mail.example.com: mx-insecure, to be fixed by: domain",
	} {
		_, err := sender.Send(t.Context(), &queue.Message{
			From: "a@from.example", Recipients: []queue.Recipient{{Address: to}}, Content: queue.String("Subject: s\r\n\r\nbody\r\n"),
		})
		if (err == nil) != (want == "") || WhyKept(err) != want {
			t.Errorf("%s: %v, %q", to, err, WhyKept(err))
		}
	}
}
