package smtp_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

func TestGreeting(t *testing.T) {
	slow := []smtptest.Cue{{At: smtptest.Banner, Delay: 3 * time.Second, Reply: "220-a\n220-b\n220 c"}}
	with(t, "SMTP-1 nothing is sent before the whole greeting", scripted(slow), func(r *rig) {
		if d := took(func() { r.open() }); d < 3*time.Second {
			r.t.Errorf("greeted after %v", d)
		}
		for _, e := range r.tap.Events() {
			if e.Written && e.At.Sub(r.host.Connections()[0].Opened) < 3*time.Second {
				r.t.Error("something was written before the greeting")
			}
		}
		if n := strings.Count(strings.Join(r.host.Commands(), "\n"), "EHLO"); n != 1 {
			r.t.Errorf("%d EHLO", n)
		}
	})
	for _, greeting := range []string{"521 no mail here", "554 no", "421 later", "450 later"} {
		with(t, "SMTP-2 after "+greeting+" only QUIT", scripted([]smtptest.Cue{{At: smtptest.Banner, Reply: greeting}}), func(r *rig) {
			e := wantErr(r.t, r.s.Greet(r.t.Context()), smtp.StageBanner, smtp.Replied)
			if got := e.Reply.String(); got != greeting {
				r.t.Errorf("reply %q", got)
			}
			r.s.Quit(r.t.Context())
			r.wantCommands("QUIT")
		})
	}
	for name, raw := range map[string]string{
		"HTTP":                  "HTTP/1.1 400 Bad Request\r\n\r\n",
		"TLS":                   "\x15\x03\x01\x00\x02\x02\x0a",
		"354":                   "354 go on\r\n",
		"a bare LF behind CRLF": "220-hello\r\n220 hello\n",
		"two letters":           "ok\r\n",
	} {
		with(t, "SMTP-17 a greeting that is "+name, scripted([]smtptest.Cue{{At: smtptest.Banner, Raw: raw, Then: smtptest.Close}}), func(r *rig) {
			wantErr(r.t, r.s.Greet(r.t.Context()), smtp.StageBanner, smtp.Protocol)
			if r.s.Reusable() {
				r.t.Error("still of use")
			}
		})
	}
	with(t, "SMTP-30 a server that ends every line with a bare LF is understood", scripted([]smtptest.Cue{
		{At: smtptest.Banner, Raw: "220-a\n220 hello\n"}, {At: smtptest.Rcpt, Raw: "250 ok\n"}, {At: smtptest.Final, Raw: "250 taken\n"},
	}), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("u@e.test")), "delivered")
	})
}

func TestHello(t *testing.T) {
	with(t, "SMTP-3 EHLO comes first", offering(), func(r *rig) {
		r.open()
		if got := r.host.Commands(); len(got) != 1 || got[0] != "EHLO client.example" {
			r.t.Errorf("said %q", got)
		}
		if x := r.s.Extensions(); !x.ESMTP || x.Greeting != "host.example" {
			r.t.Errorf("extensions %+v", x)
		}
	})
	for _, c := range []struct {
		name  string
		cue   smtptest.Cue
		helo  bool
		doubt smtp.Doubt
	}{
		{"500", smtptest.Cue{Reply: "500 what"}, true, smtp.Doubt{}},
		{"502", smtptest.Cue{Reply: "502 not implemented"}, true, smtp.Doubt{}},
		{"501", smtptest.Cue{Reply: "501 5.5.4 your name"}, true, smtp.Doubt{}},
		{"504", smtptest.Cue{Reply: "504 no"}, true, smtp.Doubt{}},
		{"550", smtptest.Cue{Reply: "550 no"}, true, smtp.Doubt{}},
		{"554", smtptest.Cue{Reply: "554 no"}, true, smtp.Doubt{}},
		{"421", smtptest.Cue{Reply: "421 later"}, false, smtp.Doubt{Next: smtp.OptEHLO, Brief: smtp.OptEHLO}},
		{"421 and the end", smtptest.Cue{Reply: "421 later", Then: smtptest.Close}, false, smtp.Doubt{Next: smtp.OptEHLO, Brief: smtp.OptEHLO}},
		{"451", smtptest.Cue{Reply: "451 later"}, false, smtp.Doubt{Next: smtp.OptEHLO, Brief: smtp.OptEHLO}},
		{"the end", smtptest.Cue{Then: smtptest.Close}, false, smtp.Doubt{Next: smtp.OptEHLO}},
		{"a reset", smtptest.Cue{Then: smtptest.Reset}, false, smtp.Doubt{Next: smtp.OptEHLO}},
		{"silence", smtptest.Cue{Then: smtptest.Stall}, false, smtp.Doubt{Next: smtp.OptEHLO}},
		{"nonsense", smtptest.Cue{Raw: "EHLO EHLO\r\n"}, false, smtp.Doubt{Next: smtp.OptEHLO}},
	} {
		c.cue.At, c.cue.Times = smtptest.Hello, 1
		with(t, "SMTP-3 after "+c.name+" to EHLO", abandoned(scripted([]smtptest.Cue{c.cue})), func(r *rig) {
			r.must(r.s.Greet(r.t.Context()))
			err := r.s.Hello(r.t.Context())
			said := strings.Join(r.host.Commands(), "\n")
			if c.helo != strings.Contains(said, "HELO client.example") {
				r.t.Errorf("said %q", said)
			}
			if c.helo {
				r.must(err)
				r.wantStates(r.send(message("u@e.test")), "delivered")
				return
			}
			var e *smtp.Error
			if !errors.As(err, &e) || e.Stage != smtp.StageHello || e.Doubt != c.doubt {
				r.t.Errorf("%+v, wanted doubt %+v", err, c.doubt)
			}
		})
	}
	helo := smtp.Config{Without: smtp.OptEHLO}
	withConfig(t, "SMTP-3 HELO first, where EHLO is known not to work", &smtptest.Host{}, helo, func(r *rig) {
		r.open()
		r.wantStates(r.send(message("u@e.test")), "delivered")
		if got := r.host.Commands()[0]; got != "HELO client.example" {
			r.t.Errorf("said %q", got)
		}
	})
	withConfig(t, "SMTP-3 and EHLO where HELO is refused", scripted([]smtptest.Cue{{At: smtptest.Hello, Nth: 1, Reply: "500 only EHLO here"}}), helo, func(r *rig) {
		r.open()
		if x := r.s.Extensions(); !x.ESMTP {
			r.t.Errorf("said %q", r.host.Commands())
		}
	})
}

// everything is a transaction that has all parameters there are.
func everything() *smtp.Transaction {
	tx := message("u@e.test")
	tx.EnvelopeID, tx.Return = "Q=1", "HDRS"
	tx.To[0].Notify, tx.To[0].OriginalType, tx.To[0].Original = "SUCCESS,FAILURE", "rfc822", "JoHn+x@e.test"
	return tx
}

func TestParameters(t *testing.T) {
	bare := []string{"MAIL FROM:<a@x.test>", "RCPT TO:<u@e.test>", "DATA", "[25 octets]", "QUIT"}
	with(t, "SMTP-4, EXT-2 no parameter that is not offered", offering("HELP"), func(r *rig) {
		r.open()
		r.wantStates(r.send(everything()), "delivered")
		r.s.Quit(r.t.Context())
		r.wantCommands(bare...)
	})
	with(t, "SMTP-4, EXT-2 nothing of ESMTP after HELO", &smtptest.Host{NoEHLO: true, Extensions: []string{"SIZE", "DSN", "PIPELINING"}}, func(r *rig) {
		r.open()
		wantErr(r.t, r.s.StartTLS(r.t.Context(), nil), smtp.StageStartTLS, smtp.Unfit)
		r.wantStates(r.send(everything()), "delivered")
		r.s.Quit(r.t.Context())
		r.wantCommands(append([]string{"HELO client.example"}, bare...)...)
	})
	with(t, "SMTP-4 what a reply to HELO lists is not offered", scripted([]smtptest.Cue{
		{At: smtptest.Hello, Nth: 1, Reply: "502 no EHLO here"},
		{At: smtptest.Hello, Nth: 2, Raw: "250-h\r\n250-SIZE 1000\r\n250-DSN\r\n250-CHUNKING\r\n250-STARTTLS\r\n250 PIPELINING\r\n"},
	}), func(r *rig) {
		r.open()
		wantErr(r.t, r.s.StartTLS(r.t.Context(), nil), smtp.StageStartTLS, smtp.Unfit)
		r.wantStates(r.send(everything()), "delivered")
		r.s.Quit(r.t.Context())
		r.wantCommands(append([]string{"HELO client.example"}, bare...)...)
	})
	with(t, "EXT-1 DSN parameters where they are offered", offering("DSN", "SIZE"), func(r *rig) {
		r.open()
		r.wantStates(r.send(everything()), "delivered")
		r.s.Quit(r.t.Context())
		r.wantCommands("MAIL FROM:<a@x.test> SIZE=25 RET=HDRS ENVID=Q+3D1",
			"RCPT TO:<u@e.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;JoHn+2Bx@e.test", "DATA", "[25 octets]", "QUIT")
	})
	with(t, "SMTP-8 the exact form of the commands", offering("SIZE"), func(r *rig) {
		r.open()
		tx := message("u@e.test")
		tx.Body = body("0123456\r\n")
		r.wantStates(r.send(tx), "delivered")
		tx.From = mailbox("")
		r.wantStates(r.send(tx), "delivered")
		r.s.Quit(r.t.Context())
		want := "EHLO client.example\r\n" +
			"MAIL FROM:<a@x.test> SIZE=9\r\nRCPT TO:<u@e.test>\r\nDATA\r\n0123456\r\n.\r\n" +
			"MAIL FROM:<> SIZE=9\r\nRCPT TO:<u@e.test>\r\nDATA\r\n0123456\r\n.\r\n" +
			"QUIT\r\n"
		if got := string(r.tap.AllWritten()); got != want {
			r.t.Errorf("wrote %q\nwanted %q", got, want)
		}
	})
	for name, ext := range modes() {
		with(t, "SMTP-8 one blank before each parameter, none behind a command, "+name, scripted([]smtptest.Cue{{At: smtptest.Rcpt, Nth: 1, Times: 1, Reply: "550 no"}},
			append(ext, "SIZE", "DSN", "8BITMIME", "SMTPUTF8")...), func(r *rig) {
			r.open()
			tx := everything()
			tx.From, tx.EightBit, tx.Body = mailbox("jö@x.test"), true, body("Subject: x\r\nMIME-Version: 1.0\r\n\r\n\xfc\r\n")
			r.wantStates(r.send(tx), "refused rcpt 550")
			r.wantStates(r.send(tx), "delivered")
			r.s.Quit(r.t.Context())
			envelope := "MAIL FROM:<jö@x.test> SIZE=36 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=Q+3D1\r\n" +
				"RCPT TO:<u@e.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;JoHn+2Bx@e.test\r\n"
			want := map[string]string{
				"lockstep": envelope + "RSET\r\n" + envelope + "DATA\r\n",
				"grouped":  envelope + "DATA\r\nRSET\r\n" + envelope + "DATA\r\n",
				"chunked":  envelope + "RSET\r\n" + envelope + "BDAT 36 LAST\r\n",
			}[name]
			if got := string(r.tap.AllWritten()); !strings.HasPrefix(got, "EHLO client.example\r\n"+want) || !strings.HasSuffix(got, "\r\nQUIT\r\n") {
				r.t.Errorf("wrote %q\nwanted %q", got, want)
			}
		})
	}
	with(t, "SMTP-11 local parts go out as they came in", offering(), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("JoHn+T@e.test", `"a b"@e.test`, `"abc"@e.test`)), "delivered", "delivered", "delivered")
		r.s.Quit(r.t.Context())
		r.wantCommands("MAIL FROM:<a@x.test>", "RCPT TO:<JoHn+T@e.test>", `RCPT TO:<"a b"@e.test>`, "RCPT TO:<abc@e.test>",
			"DATA", "[25 octets]", "QUIT")
	})
}

// at is a connection whose local end has a certain address.
type at struct {
	net.Conn
	local net.Addr
}

func (c at) LocalAddr() net.Addr { return c.local }

func TestHelloName(t *testing.T) {
	v4 := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5}
	v6 := &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 5, Zone: "eth0"}
	for _, c := range []struct {
		name, hello string
		local       net.Addr
		want        string
	}{
		{"SMTP-5 none, on IPv4", "", v4, "[192.0.2.1]"},
		{"SMTP-5 none, on IPv6", "", v6, "[IPv6:2001:db8::1]"},
		{"SMTP-5 a literal of the other family", "[198.51.100.7]", v6, "[IPv6:2001:db8::1]"},
		{"SMTP-5 a literal of the same family, for a host behind NAT", "[198.51.100.7]", v4, "[198.51.100.7]"},
		{"SMTP-5 none, and no address", "", &net.UnixAddr{Name: "/x"}, ""},
		{"I18N-4 U-labels go out as A-labels", "Bücher.example", v4, "xn--bcher-kva.example"},
		{"SMTP-10 CRLF", "a.example\r\nMAIL FROM:<x@y>", v4, ""},
		{"SMTP-10 a blank and more", "a.example b", v4, ""},
		{"SMTP-10 NUL", "a\x00.example", v4, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := smtptest.Pipe()
			host := offering()
			done := make(chan struct{})
			go func() { defer close(done); host.Serve(t.Context(), server) }()
			defer func() { client.Close(); <-done }()
			s, err := smtp.New(at{client, c.local}, &smtp.Config{Hello: c.hello})
			if c.want == "" {
				if err == nil {
					t.Error("no error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Greet(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.Hello(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.Quit(t.Context())
			if got := host.Commands()[0]; got != "EHLO "+c.want {
				t.Errorf("said %q", got)
			}
		})
	}
}

func TestQuit(t *testing.T) {
	refuse := smtptest.Cue{At: smtptest.Rcpt, Reply: "550 no"}
	with(t, "SMTP-9 QUIT after all was refused, and 221 is waited for", scripted([]smtptest.Cue{
		refuse, {At: smtptest.Quit, Delay: 2 * time.Second},
	}), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("u@e.test")), "refused rcpt 550")
		if d := took(func() { r.s.Quit(r.t.Context()) }); d != 2*time.Second {
			r.t.Errorf("closed after %v", d)
		}
	})
	with(t, "SMTP-9, SMTP-41 a host that does not answer QUIT is left after a while", scripted([]smtptest.Cue{
		{At: smtptest.Quit, Then: smtptest.Stall},
	}), func(r *rig) {
		r.open()
		if d := took(func() { r.s.Quit(r.t.Context()) }); d != 10*time.Second {
			r.t.Errorf("closed after %v", d)
		}
	})
	with(t, "SMTP-9 what happens after the 250 changes nothing", scripted([]smtptest.Cue{
		{At: smtptest.Final, Reply: "250 taken", Then: smtptest.Reset},
	}), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("u@e.test")), "delivered")
		r.s.Quit(r.t.Context())
	})
}
