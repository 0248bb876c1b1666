package smtpd

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
)

// TestDialogue says commands one after the other and looks at each reply.
func TestDialogue(t *testing.T) {
	const mail, rcpt = "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.com>"
	for _, c := range []struct {
		name   string
		dialog []string // command, reply, command, reply
	}{
		{"EHLO lists what there is", []string{"EHLO me", "250-relay.example.net|250-PIPELINING|250-SIZE 1000|250-8BITMIME|250-SMTPUTF8|250-ENHANCEDSTATUSCODES|250-CHUNKING|250 DSN"}},
		{"HELO", []string{"HELO me", "250 relay.example.net"}},
		{"no name", []string{"EHLO", "501 5.5.4", "HELO  ", "501 5.5.4", "VRFY a", "252"}},
		{"a long name", []string{"EHLO " + strings.Repeat("x", maxHello), "250", "EHLO \x80", "250"}},
		{"a name that would end a comment", []string{"EHLO me) by evil (", "501 5.5.4"}},
		{"names with signs that are in no domain", []string{
			"EHLO a@b.example", "501 5.5.4", "EHLO <b.example>", "501 5.5.4", "EHLO b.example;c", "501 5.5.4", "EHLO b/example", "501 5.5.4",
			"EHLO client-1_b.example", "250", "EHLO [IPv6:2001:db8::1]", "250",
		}},
		{"MAIL before EHLO", []string{mail, "503 5.5.1"}},
		{"RCPT before MAIL", []string{"EHLO me", "250", rcpt, "503 5.5.1"}},
		{"DATA before RCPT", []string{"EHLO me", "250", "DATA", "503 5.5.1", mail, "250", "DATA", "554 5.5.1"}},
		{"DATA with an argument", []string{"EHLO me", "250", mail, "250", rcpt, "250", "DATA x", "501 5.5.4", "DATA", "354"}},
		{"BDAT before RCPT", []string{"EHLO me", "250", mail, "250", "BDAT 0 LAST", "503 5.5.1", rcpt, "250", "BDAT 0 LAST", "250"}},
		{"two MAILs", []string{"EHLO me", "250", mail, "250 2.1.0", mail, "503 5.5.1"}},
		{"RSET, EHLO end a transaction", []string{"EHLO me", "250", mail, "250", "RSET", "250", mail, "250", "EHLO me", "250", rcpt, "503"}},
		{"verbs in any case", []string{"ehlo me", "250", "mail from:<a@example.org>", "250", "rcpt to: <b@example.com>", "250", "noop x", "250"}},
		{"the null reverse-path", []string{"EHLO me", "250", "MAIL FROM:<>", "250", rcpt, "250"}},
		{"a source route", []string{"EHLO me", "250", mail, "250", "RCPT TO:<@x.example,@y.example:b@example.com>", "250"}},
		{"a reverse-path that is no address", []string{"EHLO me", "250", "MAIL FROM:<a>", "553 5.1.7", "MAIL FROM:<a@b@c>", "553 5.1.7", "MAIL FROM:a@b.example", "501", "MAIL FROM:<a@b.example", "501", "MAIL FROM:<a@b.example>x", "501", "MAIL FROM:<@x.example>", "553 5.1.7", `MAIL FROM:<a\>`, "553 5.1.7 the reverse-path is not an address: "}},
		{"another word in the place of FROM", []string{"EHLO me", "250", "MAIL", "501 5.5.4", "MAIL X", "501 5.5.4", "MAIL MORF:<a@example.org>", "501 5.5.4"}},
		{"tabs between parameters", []string{"EHLO me", "250", mail + "\tSIZE=1\tBODY=8BITMIME", "250"}},
		{"a recipient that is no address", []string{"EHLO me", "250", mail, "250", "RCPT TO:<>", "553 5.1.3", "RCPT TO:<b>", "553 5.1.3", "RCPT TO:<b@a..example>", "553 5.1.2 no address mail can be sent to: \"b@a..example\"", "RCPT TO:<\"b@example.com>", "501"}},
		{"postmaster without a domain", []string{"EHLO me", "250", mail, "250", "RCPT TO:<Postmaster>", "250"}},
		{"SIZE over the limit", []string{"EHLO me", "250", mail + " SIZE=1001", "552 5.3.4", mail + " SIZE=1000", "250"}},
		{"SIZE of no sense", []string{"EHLO me", "250", mail + " SIZE=x", "501 5.5.4", mail + " SIZE=-1", "501 5.5.4", mail + " SIZE=000000000000000000001", "501 5.5.4", mail + " SIZE=00000000000000000001", "250"}},
		{"SIZE of nothing", []string{"EHLO me", "250", mail + " SIZE=0", "250"}},
		{"BODY", []string{"EHLO me", "250", mail + " BODY=BINARYMIME", "501 5.5.4", mail + " BODY=9BIT", "501 5.5.4", mail + " BODY=8bitmime", "250"}},
		{"parameters that are not offered", []string{"EHLO me", "250", mail + " BY=1;R", "555 5.5.4", mail + " REQUIRETLS", "555 5.5.4", mail + " SMTPUTF8=x", "555 5.5.4", mail, "250", rcpt + " RRVS=x", "555 5.5.4"}},
		{"an address beyond ASCII", []string{"EHLO me", "250", "MAIL FROM:<ä@example.org>", "553 5.6.7", "MAIL FROM:<ä@example.org> SMTPUTF8", "250", "RCPT TO:<ö@example.com>", "250", "RSET", "250", mail, "250", "RCPT TO:<ö@example.com>", "553 5.6.7"}},
		{"bad DSN parameters", []string{"EHLO me", "250", mail + " RET=SOME", "501", mail + " ENVID=+2", "501", mail + " ENVID=+0A", "501", mail + " ENVID=a+7Fb", "501", mail + " ENVID=", "501", mail + " ENVID=a=b", "501", mail + " ENVID=a+2Bb=c", "501", mail + " ENVID=" + strings.Repeat("x", 101), "501", mail, "250", rcpt + " NOTIFY=NEVER,DELAY", "501", rcpt + " NOTIFY=", "501", rcpt + " ORCPT=x", "501", rcpt + " ORCPT=rfc822;a=b", "501", rcpt + " NOTIFY=DELAY NOTIFY=DELAY", "501"}},
		{"DSN parameters", []string{"EHLO me", "250", mail + " RET=full ENVID=" + strings.Repeat("x", 100), "250", rcpt + " NOTIFY=SUCCESS", "250"}},
		{"too many recipients", []string{"EHLO me", "250", mail, "250", rcpt, "250", "RCPT TO:<c@example.com>", "250", "RCPT TO:<d@example.com>", "452 4.5.3"}},
		{"VRFY, HELP, unknown", []string{"VRFY a", "252", "HELP", "214", "EXPN a", "500 5.5.2", "", "500 5.5.2"}},
		{"STARTTLS that is not offered", []string{"EHLO me", "250", "STARTTLS", "502 5.5.1"}},
		{"QUIT", []string{"QUIT", "221 2.0.0", "NOOP", ""}},
		{"BDAT of no sense", []string{"EHLO me", "250", "BDAT -1 LAST", "501", "NOOP", ""}},
		{"BDAT without a number", []string{"EHLO me", "250", "BDAT x", "501", "NOOP", ""}},
		{"BDAT with another word than LAST", []string{"EHLO me", "250", "BDAT 0 FIRST", "501", "NOOP", ""}},
		{"a long command", []string{"NOOP " + strings.Repeat("x", maxLine-len("NOOP \r\n")), "250", "NOOP " + strings.Repeat("x", maxLine+1-len("NOOP \r\n")), "500 5.5.2 line too long", "NOOP", ""}},
		{"a refused recipient", []string{"EHLO me", "250", mail, "250", "RCPT TO:<x@refused.example>", "550 5.7.1 no|550 5.7.1 never", "DATA", "554"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, &Server{MaxSize: 1000, MaxRecipients: 2, Rcpt: refuseSome})
			client := r.dial(t)
			client.want("220 relay.example.net ESMTP")
			for i := 0; i < len(c.dialog); i += 2 {
				client.say(c.dialog[i] + "\r\n")
				if got := client.reply(); !strings.HasPrefix(plain(got), plain(c.dialog[i+1])) || c.dialog[i+1] == "" && got != "" {
					t.Fatalf("%q is answered %q, want %q", c.dialog[i], got, c.dialog[i+1])
				}
			}
		})
	}
}

// plain makes the lines of a reply comparable.
func plain(reply string) string { return strings.ReplaceAll(reply, "550-", "550 ") }

func refuseSome(_ context.Context, _ *Transaction, _ *queue.Recipient, destination string) Reply {
	if destination == "refused.example" {
		return Reply{550, "5.7.1", "no\nnever"}
	}
	return Reply{}
}

// TestEnvelope sends a message with every parameter there is.
func TestEnvelope(t *testing.T) {
	r := start(t, &Server{})
	c := r.dial(t)
	c.say("EHLO me.example\r\n" +
		"MAIL FROM:<a@example.org> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=x+2By+3D SMTPUTF8 AUTH=<>\r\n" +
		"RCPT TO:<\"a b\"@Example.com> NOTIFY=FAILURE,delay ORCPT=rfc822;o+2Bo@example.com\r\n" +
		"RCPT TO:<c@example.com> NOTIFY=NEVER\r\nDATA\r\n")
	c.want("220", "250", "250", "250", "250", "354")
	c.say("Subject: x\r\n\r\n..dot\r\n.\r\n")
	c.want("250 2.0.0 taken")
	got := r.all()[0]
	want := Transaction{
		Client: got.Client, Hello: "me.example", Extended: true, ID: got.ID, From: "a@example.org", Size: 10, UTF8: true,
		EnvelopeID: "x+y=", Return: queue.ReturnHeaders,
		Recipients: []queue.Recipient{
			{Address: `"a b"@Example.com`, Notify: queue.NotifyFailure | queue.NotifyDelay, OriginalType: "rfc822", Original: "o+o@example.com"},
			{Address: "c@example.com", Notify: queue.NotifyNever},
		},
	}
	if m, w := got.Message(nil), want.Message(nil); m.From != w.From || m.Return != w.Return || m.EnvelopeID != w.EnvelopeID ||
		len(m.Recipients) != 2 || m.Recipients[0] != w.Recipients[0] || m.Recipients[1] != w.Recipients[1] {
		t.Errorf("the message is %+v, want %+v", m, w)
	}
	if got.Client.String() != "127.0.0.1" || got.ID == "" || !got.UTF8 || got.Size != 10 {
		t.Errorf("the transaction is %+v", got.Transaction)
	}
	if text := cut(t, got.content); text != "Subject: x\r\n\r\n.dot\r\n" {
		t.Errorf("the content is %q", text)
	}
	if strings.Contains(got.content, "for <") {
		t.Errorf("one recipient is told of another: %q", got.content)
	}
}

// TestReturn: RET=FULL and none are told apart.
func TestReturn(t *testing.T) {
	r := start(t, &Server{})
	c := r.dial(t)
	c.say("EHLO me\r\nMAIL FROM:<> RET=FULL\r\nRCPT TO:<b@example.com>\r\nBDAT 0 LAST\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nBDAT 0 LAST\r\n")
	c.want("220", "250", "250", "250", "250", "250", "250", "250")
	if m := r.all(); m[0].Message(nil).Return != queue.ReturnFull || m[1].Message(nil).Return == queue.ReturnFull {
		t.Errorf("%v and %v", m[0].Return, m[1].Return)
	}
}

// TestReplyText: what the server's user says is a reply whatever is in it.
func TestReplyText(t *testing.T) {
	const limit = 400
	c := start(t, &Server{Rcpt: func(context.Context, *Transaction, *queue.Recipient, string) Reply {
		return Reply{550, "5.7.1", "a\rb\x7fc\n" + strings.Repeat("x", limit+1)}
	}}).dial(t)
	c.say("EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\n")
	c.want("220", "250", "250")
	if got, want := c.reply(), "550-5.7.1 a?b?c|550 5.7.1 "+strings.Repeat("x", limit); got != want {
		t.Errorf("the reply is %q, want %q", got, want)
	}
	for code, failed := range map[int]bool{250: false, 354: false, 399: false, 400: true, 421: true, 554: true} {
		if (Reply{Code: code}).Failed() != failed {
			t.Errorf("%d is a refusal: want %t", code, failed)
		}
	}
}

// TestUntrusted: who is not trusted by the server's user keeps to the grammar.
func TestUntrusted(t *testing.T) {
	c := start(t, &Server{Trusted: func(netip.Addr) bool { return false }}).dial(t)
	c.say("EHLO me\r\nMAIL FROM:a@example.org\r\n")
	c.want("220", "250", "501")
}

// TestHalfClosed: a client that says no more is told nothing.
func TestHalfClosed(t *testing.T) {
	c := start(t, &Server{}).dial(t)
	c.want("220")
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.want("")
}

// TestMark: the mark stands after the name in the replies to EHLO and HELO.
func TestMark(t *testing.T) {
	client := start(t, &Server{Mark: "m4rk"}).dial(t)
	client.want("220 relay.example.net ESMTP")
	client.say("EHLO me\r\nHELO me\r\n")
	client.want("250-relay.example.net m4rk|250-PIPELINING|", "250 relay.example.net m4rk")
}

// TestMailIsAsked: the server's user may refuse a sender; another may follow.
func TestMailIsAsked(t *testing.T) {
	r := start(t, &Server{Mail: func(_ context.Context, tx *Transaction) Reply {
		if tx.From == "a@example.org" {
			return Reply{550, "5.7.1", "not from you"}
		}
		return Reply{}
	}})
	c := r.dial(t)
	c.say("EHLO me\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nMAIL FROM:<b@example.org>\r\n")
	c.want("220", "250", "550 5.7.1 not from you", "503 5.5.1", "250")
}
