package smtptest_test

import (
	"context"
	"crypto/tls"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

func TestStartTLS(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	h := &smtptest.Host{Name: "mx.example", Extensions: []string{"STARTTLS", "PIPELINING"}, Authority: ca}
	secure := func(t *testing.T, implicit bool) {
		h := &smtptest.Host{Name: h.Name, Extensions: h.Extensions, Authority: ca, ImplicitTLS: implicit}
		client, server := smtptest.Pipe()
		var serving sync.WaitGroup
		serving.Go(func() { h.Serve(context.Background(), server) })
		defer serving.Wait()
		defer client.Close()
		greeting := `S: 220 mx.example ESMTP`
		if !implicit {
			converse(t, client, greeting+`
			C: EHLO client.example
			S: 250-mx.example greets you
			S: 250-STARTTLS
			S: 250 PIPELINING
			C: STARTTLS
			S: 220 2.0.0 go ahead`)
		}
		config := ca.ClientConfig()
		config.ServerName = "mx.example"
		conn := tls.Client(client, config)
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		rest := `
			C: EHLO client.example
			S: 250-mx.example greets you
			S: 250 PIPELINING
			C: MAIL FROM:<>
			C: RCPT TO:<b@b.example>
			C: DATA
			S: 250 2.1.0 ok
			S: 250 2.1.5 ok
			S: 354 go ahead
			C: .
			S: 250 2.0.0 taken
			C: QUIT
			S: 221 2.0.0 bye
			EOF`
		if implicit {
			rest = greeting + rest
		}
		converse(t, conn, rest)
		serving.Wait()
		h.Check(t)
		if m := h.Messages(); len(m) != 1 || !m[0].TLS || m[0].From != "" || len(m[0].Content) != 0 {
			t.Errorf("messages %+v", m)
		}
		if c := h.Connections(); len(c) != 1 || c[0].TLS == nil || c[0].Closed.IsZero() {
			t.Errorf("connections %+v", c)
		}
	}
	t.Run("in virtual time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { secure(t, false) })
	})
	t.Run("today", func(t *testing.T) { secure(t, false) })
	t.Run("implicit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { secure(t, true) })
	})
}
