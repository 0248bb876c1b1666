package smtptest_test

import (
	"crypto/tls"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestRightClientsBreakNoRule holds the judge to its own standard: what the
// standards allow is no violation.
func TestRightClientsBreakNoRule(t *testing.T) {
	everything := "PIPELINING;CHUNKING;BINARYMIME;8BITMIME;SMTPUTF8;DSN;SIZE 1000;REQUIRETLS;DELIVERBY 60;MT-PRIORITY;FUTURERELEASE 1 2;RRVS;AUTH EXTERNAL"
	const ok, done = "\nS: 250 2.1.0 ok\n", "C: RSET\nS: 250 2.0.0 ok\n"
	refuse := func(at smtptest.Stage, reply string) []smtptest.Cue { return []smtptest.Cue{{At: at, Reply: reply}} }
	cases := []struct {
		name     string
		offers   string
		script   []smtptest.Cue
		dialogue string
		noQuit   bool
	}{
		{name: "commands in lower case", dialogue: "S: 220 host.example ESMTP\nC: ehlo client.example\nS: 250 host.example greets you\nC: mail from:<A@a.example>\nS: 250 2.1.0 ok\nC: rcpt to:<b@b.example>\nS: 250 2.1.5 ok\n" + rset},
		{name: "an address literal", dialogue: "S: 220 host.example ESMTP\nC: EHLO [198.51.100.25]\nS: 250 host.example greets you"},
		{name: "HELO", dialogue: "S: 220 host.example ESMTP\nC: HELO client.example\nS: 250 host.example"},
		{name: "NOOP, VRFY and HELP", dialogue: plain + "C: NOOP anything\nS: 250 2.0.0 ok\nC: VRFY somebody\nS: 252 2.0.0 send some mail\nC: HELP\nS: 214 2.0.0 see RFC 5321"},
		{name: "QUIT at once", dialogue: "S: 220 host.example ESMTP"},
		{name: "quoted and unusual local parts", dialogue: plain + `C: MAIL FROM:<"a b\"@c> "@a.example>` + ok + "C: RCPT TO:<!#$%&'*+-/=?^_`{|}~@[IPv6:2001:db8::1]>\nS: 250 2.1.5 ok\nC: RCPT TO:<Postmaster>\nS: 250 2.1.5 ok\n" + done},
		{name: "all parameters of MAIL", offers: everything, dialogue: "C: MAIL FROM:<a@a.example> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=a+2Bb BY=120;N MT-PRIORITY=-9 HOLDFOR=1 AUTH=<>" + ok + done +
			"C: MAIL FROM:<> BODY=BINARYMIME AUTH=e+3Dmc2@a.example HOLDUNTIL=2030-01-01T00:00:00Z RET=full" + ok + done + "C: MAIL FROM:<> BODY=7bit SIZE=0" + ok + done},
		{name: "all parameters of RCPT", offers: everything, dialogue: "C: MAIL FROM:<>" + ok + "C: RCPT TO:<b@b.example> NOTIFY=SUCCESS,DELAY,FAILURE ORCPT=rfc822;x+2By@b.example RRVS=2014-04-03T23:01:00Z;C\nS: 250 2.1.5 ok\nC: RCPT TO:<c@b.example> NOTIFY=NEVER\nS: 250 2.1.5 ok\n" + done},
		{name: "SMTPUTF8", offers: everything, dialogue: "C: MAIL FROM:<jö@ä.example> SMTPUTF8 BODY=8BITMIME" + ok + "C: RCPT TO:<bü@b.example> ORCPT=utf-8;bü@b.example\nS: 250 2.1.5 ok\nC: DATA\nS: 354 go ahead\nC: Subject: ü\n" + taken},
		{name: "binary content", offers: everything, dialogue: "C: MAIL FROM:<> BODY=BINARYMIME" + ok + "C: RCPT TO:<b@b.example>\nS: 250 2.1.5 ok\nC: BDAT 6\nC> \\0\\r\\n\\n\\rx\nC: BDAT 0 LAST\nS: 250 2.0.0 6 octets\nS: 250 2.0.0 taken"},
		{name: "a long command with long parameters", offers: everything, dialogue: "C: MAIL FROM:<>" + ok + "C: RCPT TO:<b@b.example> ORCPT=rfc822;" + strings.Repeat("x", 490) + "\nS: 250 2.1.5 ok\n" + done},
		{name: "a group sent before MAIL was refused", offers: "PIPELINING", script: refuse(smtptest.Mail, "550 5.7.1 no"), dialogue: "C: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nC: DATA\nS: 550 5.7.1 no\nS: 503 5.5.1 MAIL first\nS: 503 5.5.1 MAIL first\n" + done},
		{name: "a group sent before RCPT was refused", offers: "PIPELINING", script: refuse(smtptest.Rcpt, "550 5.1.1 no"), dialogue: "C: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nC: DATA\nS: 250 2.1.0 ok\nS: 550 5.1.1 no\nS: 554 5.5.1 no valid recipients\n" + done},
		{name: "a lone dot after 354 for nobody", offers: "PIPELINING", script: append(refuse(smtptest.Rcpt, "550 5.1.1 no"), smtptest.Cue{At: smtptest.Data, Reply: "354 go ahead"}), dialogue: "C: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nC: DATA\nS: 250 2.1.0 ok\nS: 550 5.1.1 no\nS: 354 go ahead\nC: .\nS: 554 5.5.1 no valid recipients\n" + done},
		{name: "chunks sent before one was refused", offers: "PIPELINING;CHUNKING", script: []smtptest.Cue{{At: smtptest.Chunk, Nth: 1, Reply: "452 4.3.1 full"}}, dialogue: "C: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nC: BDAT 3\nC: x\nC: BDAT 0 LAST\nS: 250 2.1.0 ok\nS: 250 2.1.5 ok\nS: 452 4.3.1 full\nS: 503 5.5.1 a chunk was refused\n" + done},
		{name: "the next message with the final dot", offers: "PIPELINING", dialogue: "C: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nC: DATA\nS: 250 2.1.0 ok\nS: 250 2.1.5 ok\nS: 354 go ahead\nC: .\nC: MAIL FROM:<>\nC: RCPT TO:<b@b.example>\nC: DATA\nS: 250 2.0.0 taken\nS: 250 2.1.0 ok\nS: 250 2.1.5 ok\nS: 354 go ahead\nC: .\nS: 250 2.0.0 taken"},
		{name: "content of long and dotted lines", dialogue: body + "C: " + strings.Repeat("x", 998) + "\nC: .." + strings.Repeat("x", 997) + "\nC: ..\n" + taken},
		{name: "closing after 421", script: refuse(smtptest.Rcpt, "421 4.3.2 closing"), noQuit: true, dialogue: plain + "C: MAIL FROM:<>" + ok + "C: RCPT TO:<b@b.example>\nS: 421 4.3.2 closing"},
		{name: "closing in the middle of the content", noQuit: true, dialogue: body + "C: half of it"},
		{name: "closing in the middle of a command", noQuit: true, dialogue: plain + "C> MAIL FRO"},
		{name: "closing while the host says nothing", script: []smtptest.Cue{{At: smtptest.Rcpt, Then: smtptest.Stall}}, noQuit: true, dialogue: plain + "C: MAIL FROM:<>" + ok + "C: RCPT TO:<b@b.example>"},
		{name: "closing after nonsense", script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "699 what"}}, noQuit: true, dialogue: plain + "C: MAIL FROM:<>" + ok + "C: RCPT TO:<b@b.example>\nS: 699 what"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &smtptest.Host{Script: c.script}
				opening, end := "", quit
				if c.offers != "" {
					h.Extensions = strings.Split(c.offers, ";")
					opening = offering(c.offers)
				}
				if c.noQuit {
					end = ""
				}
				talk(t, h, opening+strings.TrimSpace(c.dialogue)+"\n"+end)
				h.Check(t)
			})
		})
	}
}

func TestExternal(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	for name, reply := range map[string]string{"client.example": "235 2.7.0 welcome", "other.example": "535 5.7.8 credentials invalid"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &smtptest.Host{ImplicitTLS: true, Extensions: []string{"AUTH EXTERNAL"}, Authority: ca}
				cert, err := ca.Certificate("client.example")
				if err != nil {
					t.Fatal(err)
				}
				config := ca.ClientConfig()
				config.ServerName, config.Certificates = "host.example", []tls.Certificate{cert}
				conn := tls.Client(open(t, h), config)
				converse(t, conn, offering("AUTH EXTERNAL")+"C: AUTH EXTERNAL "+b64(name)+"\nS: "+reply+"\n"+quit)
				h.Check(t)
			})
		})
	}
}
