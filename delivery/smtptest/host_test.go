package smtptest_test

import (
	"net"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

func TestHostTakesMessages(t *testing.T) {
	cases := []struct {
		name       string
		extensions []string
		dialogue   string
		content    string
		params     []string
		trips      int
	}{
		{
			name: "step by step",
			dialogue: `
				S: 220 mx.example ESMTP
				C: HELO client.example
				S: 250 mx.example
				C: MAIL FROM:<a@a.example>
				S: 250 2.1.0 ok
				C: RCPT TO:<b@b.example>
				S: 250 2.1.5 ok
				C: DATA
				S: 354 go ahead
				C: Subject: x
				C:
				C: ..dot
				C: .
				S: 250 2.0.0 taken
				C: QUIT
				S: 221 2.0.0 bye
				EOF`,
			content: "Subject: x\r\n\r\n.dot\r\n",
			trips:   6,
		},
		{
			name:       "PIPELINING",
			extensions: []string{"PIPELINING", "SIZE 1000", "8BITMIME"},
			dialogue: `
				S: 220 mx.example ESMTP
				C: EHLO client.example
				S: 250-mx.example greets you
				S: 250-PIPELINING
				S: 250-SIZE 1000
				S: 250 8BITMIME
				C: MAIL FROM:<a@a.example> SIZE=3
				C: RCPT TO:<b@b.example>
				C: DATA
				S: 250 2.1.0 ok
				S: 250 2.1.5 ok
				S: 354 go ahead
				C: x
				C: .
				C: QUIT
				S: 250 2.0.0 taken
				S: 221 2.0.0 bye
				EOF`,
			content: "x\r\n",
			params:  []string{"SIZE=3"},
			trips:   3,
		},
		{
			name:       "CHUNKING in one flight",
			extensions: []string{"PIPELINING", "CHUNKING"},
			dialogue: `
				S: 220 mx.example ESMTP
				C: EHLO client.example
				S: 250-mx.example greets you
				S: 250-PIPELINING
				S: 250 CHUNKING
				C: MAIL FROM:<a@a.example>
				C: RCPT TO:<b@b.example>
				C: BDAT 4
				C: .x
				C: BDAT 3 LAST
				C: y
				S: 250 2.1.0 ok
				S: 250 2.1.5 ok
				S: 250 2.0.0 4 octets
				S: 250 2.0.0 taken
				C: QUIT
				S: 221 2.0.0 bye
				EOF`,
			content: ".x\r\ny\r\n",
			trips:   3,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &smtptest.Host{Name: "mx.example", Extensions: c.extensions}
				talk(t, h, c.dialogue)
				h.Check(t)
				got := h.Messages()
				if len(got) != 1 {
					t.Fatalf("%d messages, want one", len(got))
				}
				m := got[0]
				if m.From != "a@a.example" || !slices.Equal(m.To(), []string{"b@b.example"}) || string(m.Content) != c.content || !slices.Equal(m.Params, c.params) {
					t.Errorf("message %+v, content %q", m, m.Content)
				}
				if got := h.RoundTrips(); got != c.trips {
					t.Errorf("%d round trips, want %d", got, c.trips)
				}
			})
		})
	}
}

func TestHostOnLoopback(t *testing.T) {
	h := &smtptest.Host{Name: "mx.example"}
	conn, err := net.Dial("tcp", h.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	converse(t, conn, `
		S: 220 mx.example ESMTP
		C: EHLO client.example
		S: 250 mx.example greets you
		C: QUIT
		S: 221 2.0.0 bye
		EOF`)
	h.Check(t)
}
