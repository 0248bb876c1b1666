package main

import (
	"bytes"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
)

// TestJournal: a line for each event, with what is known and nothing else.
func TestJournal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		event delivery.Event
		want  string
	}{
		{"of no message", delivery.Event{Kind: delivery.PolicyNotice, Enhanced: "4.7.5", Reply: "DANE is off"}, "tls: 4.7.5 DANE is off\n"},
		{"without a reply", delivery.Event{Kind: delivery.Queued, ID: "1", Recipient: "b@example.com"}, "1 queued <b@example.com>\n"},
		{"with a reply", delivery.Event{Kind: delivery.Delivered, ID: "1", Recipient: "b@example.com", Host: "mail.example.com", Code: 250, Enhanced: "2.0.0", Reply: "taken"},
			"1 delivered <b@example.com> by mail.example.com: 250 2.0.0 taken\n"},
		{"with a reply that has its enhanced code", delivery.Event{Kind: delivery.Deferred, ID: "1", Code: 450, Enhanced: "4.2.1", Reply: "4.2.1 later\r\n1 delivered"},
			"1 deferred: 450 4.2.1 later  1 delivered\n"},
		{"with a code alone", delivery.Event{Kind: delivery.Deferred, ID: "1", Code: 451}, "1 deferred: 451\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			(&runner{log: &log}).event(t.Context(), c.event)
			if log.String() != c.want {
				t.Errorf("it is %q, want %q", log.String(), c.want)
			}
		})
	}
}
