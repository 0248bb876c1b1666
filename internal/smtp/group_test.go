package smtp_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

func TestGroups(t *testing.T) {
	with(t, "EXT-7 the envelope is one group, and DATA its last command", offering("PIPELINING"), func(r *rig) {
		r.open()
		n := r.trips()
		r.wantStates(r.send(message("u@e.test", "v@e.test")), "delivered", "delivered")
		if d := r.trips() - n; d != 2 {
			r.t.Errorf("%d round trips", d)
		}
		var flights []string
		written := string(r.tap.AllWritten())
		for _, e := range r.tap.Events() {
			if e.Written {
				flights = append(flights, written[:e.Octets])
				written = written[e.Octets:]
			}
		}
		want := []string{"EHLO client.example\r\n",
			"MAIL FROM:<a@x.test>\r\nRCPT TO:<u@e.test>\r\nRCPT TO:<v@e.test>\r\nDATA\r\n", hello + ".\r\n"}
		if !slices.Equal(flights, want) {
			r.t.Errorf("flights %q", flights)
		}
	})
	with(t, "EXT-7 no group without the keyword", offering("CHUNKING", "SIZE"), func(r *rig) {
		r.warm()
		n := r.trips()
		r.wantStates(r.send(message("u@e.test", "v@e.test")), "delivered", "delivered")
		if d := r.trips() - n; d != 4 {
			r.t.Errorf("%d round trips", d)
		}
	})
	for name, drip := range map[string]time.Duration{"octet by octet": time.Microsecond, "in one piece": 0} {
		with(t, "EXT-8 replies "+name, scripted([]smtptest.Cue{
			{At: smtptest.Mail, Reply: "250-one\n250-two\n250 three", Drip: drip},
			{At: smtptest.Rcpt, Address: "u@e.test", Reply: "550-550 250\n550 250", Drip: drip},
			{At: smtptest.Rcpt, Address: "v@e.test", Reply: "250 550", Drip: drip},
			{At: smtptest.Rcpt, Address: "w@e.test", Reply: "450", Drip: drip},
			{At: smtptest.Data, Reply: "354-go\n354 on", Drip: drip},
		}, "PIPELINING"), func(r *rig) {
			r.open()
			r.wantStates(r.send(message("u@e.test", "v@e.test", "w@e.test")), "refused rcpt 550", "delivered", "refused rcpt 450")
		})
	}
	with(t, "EXT-9 all refused, and 354 all the same", scripted([]smtptest.Cue{
		{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"},
		{At: smtptest.Data, Times: 1, Reply: "354 go on"},
	}, "PIPELINING"), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("bad@e.test", "bad@e.test")), "refused rcpt 550", "refused rcpt 550")
		if got := string(r.tap.AllWritten()); !strings.HasSuffix(got, "DATA\r\n.\r\n") {
			r.t.Errorf("wrote %q", got)
		}
		r.wantStates(r.send(message("u@e.test")), "delivered")
	})
	with(t, "EXT-9 all refused, and DATA, too: RSET", scripted([]smtptest.Cue{
		{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"},
	}, "PIPELINING"), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("bad@e.test")), "refused rcpt 550")
		r.wantStates(r.send(message("u@e.test")), "delivered")
		if got := r.commands(); got[3] != "RSET" {
			r.t.Errorf("said %q", got)
		}
	})
	with(t, "EXT-9 a cut after two of five replies keeps two verdicts", scripted([]smtptest.Cue{
		{At: smtptest.Rcpt, Address: "u1@e.test", Reply: "550 no"},
		{At: smtptest.Rcpt, Address: "u3@e.test", Then: smtptest.Close},
	}, "PIPELINING"), func(r *rig) {
		r.open()
		res := r.send(message(recipients(4)...))
		r.wantStates(res, "refused rcpt 550", "failed", "failed", "failed")
		wantErr(r.t, res.Err, smtp.StageRcpt, smtp.Closed)
	})
	with(t, "EXT-9 421 in a group keeps what was said before it", scripted([]smtptest.Cue{
		{At: smtptest.Rcpt, Address: "u1@e.test", Reply: "550 no"},
		{At: smtptest.Rcpt, Address: "u3@e.test", Reply: "421 closing", Then: smtptest.Close},
	}, "PIPELINING"), func(r *rig) {
		r.open()
		res := r.send(message(recipients(4)...))
		r.wantStates(res, "refused rcpt 550", "failed", "failed", "failed")
		if e := wantErr(r.t, res.Err, smtp.StageRcpt, smtp.Replied); e.Reply.Code != 421 {
			r.t.Errorf("reply %+v", e.Reply)
		}
	})
	host := scripted([]smtptest.Cue{{At: smtptest.Rcpt, Address: "u2@e.test", Then: smtptest.Skip}}, "PIPELINING")
	host.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
	with(t, "EXT-8 a group of which the host loses a command", host, func(r *rig) {
		r.open()
		res := r.send(message(recipients(3)...))
		// Replies are counted: the last recipient's is taken for the second's,
		// and the one to DATA makes no sense for a recipient.
		r.wantStates(res, "failed", "failed", "failed")
		wantErr(r.t, res.Err, smtp.StageRcpt, smtp.Protocol)
		if len(r.host.Received()) > 0 || strings.Contains(string(r.tap.AllWritten()), "world") {
			r.t.Error("content was sent")
		}
	})
}

func TestFullWindow(t *testing.T) {
	for name, ext := range map[string][]string{"with DATA": {"PIPELINING"}, "with BDAT": {"PIPELINING", "CHUNKING"}} {
		with(t, "EXT-10 a host that writes 5,000 long replies, "+name, scripted([]smtptest.Cue{
			{At: smtptest.Rcpt, Reply: "250 " + strings.Repeat("x", 500)},
		}, ext...), func(r *rig) {
			r.warm()
			tx := message(recipients(5000)...)
			tx.Body = body(strings.Repeat("0123456789abcdef\r\n", 10_000))
			var res smtp.Result
			if d := took(func() { res = r.send(tx) }); d > time.Second {
				r.t.Errorf("took %v", d)
			}
			for i, rr := range res.Rcpts {
				if rr.State != smtp.Delivered {
					r.t.Fatalf("recipient %d: %+v", i, rr)
				}
			}
		})
	}
	for _, at := range []smtptest.Stage{smtptest.Mail, smtptest.Rcpt} {
		host := scripted([]smtptest.Cue{{At: at, Nth: 2, Then: smtptest.StopReading}}, "PIPELINING", "CHUNKING")
		host.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
		with(t, "EXT-10, SMTP-39 a host that stops reading at "+at.String(), host, func(r *rig) {
			r.warm()
			tx := message(recipients(100)...)
			tx.Body = body(strings.Repeat("0123456789abcdef\r\n", 14_000))
			var res smtp.Result
			if d := took(func() { res = r.send(tx) }); d < 3*time.Minute || d > 3*time.Minute+12*time.Second {
				r.t.Errorf("took %v", d)
			}
			if res.Rcpts[99].State != smtp.Failed || res.Err.Kind != smtp.Timeout {
				r.t.Errorf("%+v, %v", res.Rcpts[99], res.Err)
			}
		})
	}
}

func TestUnsolicited(t *testing.T) {
	for name, ext := range modes() {
		host := scripted([]smtptest.Cue{{At: smtptest.Final, Reply: "250 taken\n250 and again"}}, ext...)
		host.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
		with(t, "two replies to one command, "+name, host, func(r *rig) {
			r.open()
			r.wantStates(r.send(message("u@e.test")), "delivered")
			if r.s.Reusable() && r.s.Check() == nil {
				r.t.Error("still of use")
			}
			res := r.send(message("u@e.test"))
			if res.Rcpts[0].State == smtp.Delivered || len(r.host.Messages()) != 1 {
				r.t.Errorf("%+v", res.Rcpts[0])
			}
		})
		host = scripted([]smtptest.Cue{{At: smtptest.Mail, When: smtptest.Early, Reply: "250 early"}}, ext...)
		host.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
		with(t, "a reply before its command, "+name, host, func(r *rig) {
			r.open()
			res := r.send(message("u@e.test"))
			wantErr(r.t, res.Err, smtp.StageIdle, smtp.Protocol)
			r.wantStates(res, "not tried")
			if got := r.commands(); len(got) > 0 {
				r.t.Errorf("said %q", got)
			}
		})
	}
}

func TestUnsolicitedHello(t *testing.T) {
	for _, c := range []struct {
		name, raw string
		kind      smtp.Kind
	}{
		{"421", "220 hello\r\n421 on second thoughts\r\n", smtp.Replied},
		{"221", "220 hello\r\n221 on second thoughts\r\n", smtp.Closed},
		{"250", "220 hello\r\n250 and hello again\r\n", smtp.Protocol},
		{"half a line", "220 hello\r\n250", smtp.Protocol},
	} {
		host := abandoned(scripted([]smtptest.Cue{{At: smtptest.Banner, Raw: c.raw}}))
		with(t, "a "+c.name+" before EHLO was said", host, func(r *rig) {
			r.must(r.s.Greet(r.t.Context()))
			wantErr(r.t, r.s.Hello(r.t.Context()), smtp.StageIdle, c.kind)
			if got := r.tap.AllWritten(); len(got) > 0 {
				r.t.Errorf("wrote %q", got)
			}
		})
	}
}

func TestReset(t *testing.T) {
	// A transaction that ends with accepted recipients left: were RSET to fail,
	// they would get the next message.
	lingering := func(reset string) *smtptest.Host {
		return scripted([]smtptest.Cue{
			{At: smtptest.Final, Nth: 2, Reply: "451 not now"}, {At: smtptest.Rset, Reply: reset},
		}, "PIPELINING", "CHUNKING")
	}
	with(t, "EXT-14 content waits for RSET where recipients may linger", lingering("250 fine"), func(r *rig) {
		r.warm()
		r.wantStates(r.send(message("u@e.test")), "refused final 451")
		n := r.trips()
		r.wantStates(r.send(message("v@e.test")), "delivered")
		if d := r.trips() - n; d != 2 {
			r.t.Errorf("%d round trips", d)
		}
	})
	host := abandoned(lingering("500 what"))
	host.Allow = append(host.Allow, smtptest.RuleNestedMail)
	with(t, "SMTP-27 no content follows a RSET that is refused where recipients may linger", host, func(r *rig) {
		r.warm()
		r.wantStates(r.send(message("u@e.test")), "refused final 451")
		res := r.send(message("v@e.test"))
		r.wantStates(res, "not tried")
		if !res.Stale || strings.Count(strings.Join(r.commands(), "\n"), "BDAT") != 2 {
			r.t.Errorf("said %q", r.commands())
		}
	})
	for name, ext := range modes() {
		with(t, "RSET is said once, "+name, scripted([]smtptest.Cue{{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"}}, ext...), func(r *rig) {
			r.warm()
			r.wantStates(r.send(message("bad@e.test")), "refused")
			for range 3 {
				r.wantStates(r.send(message("u@e.test")), "delivered")
			}
			if n := strings.Count(strings.Join(r.commands(), "\n"), "RSET"); n != 1 {
				r.t.Errorf("%d times RSET", n)
			}
		})
	}
}

func TestTooEarly(t *testing.T) {
	for name, ext := range modes() {
		host := abandoned(scripted([]smtptest.Cue{{At: smtptest.Content, After: 10_000, Reply: "250 taken", Then: smtptest.StopReading}}, ext...))
		with(t, "a yes to content that is not complete is none, "+name, host, func(r *rig) {
			r.warm()
			tx := message("u@e.test")
			tx.Body = body(make(zeros, 250_000).Bytes())
			res := r.send(tx)
			r.wantStates(res, "failed")
			if res.Err.Kind != smtp.Protocol || r.s.Reusable() {
				r.t.Errorf("error %v", res.Err)
			}
		})
	}
}

func TestClosing(t *testing.T) {
	host := abandoned(scripted([]smtptest.Cue{{At: smtptest.Rcpt, Address: "v@e.test", Reply: "421 closing", Then: smtptest.Stall}}, "PIPELINING", "CHUNKING"))
	with(t, "SMTP-19 a server that says 421 and stays is not waited for", host, func(r *rig) {
		r.warm()
		var res smtp.Result
		d := took(func() { res = r.send(message("u@e.test", "v@e.test")) })
		// It has the content, and may have read on.
		r.wantStates(res, "unknown", "failed")
		if d != 10*time.Second || res.Err.Reply.Code != 421 {
			r.t.Errorf("%v after %v", res.Err, d)
		}
	})
	host = scripted([]smtptest.Cue{{At: smtptest.Rcpt, Address: "v@e.test", Reply: "421 too fast"}}, "PIPELINING", "CHUNKING")
	with(t, "SMTP-19, SMTP-42 a server that says 421 and goes on is believed", host, func(r *rig) {
		r.warm()
		res := r.send(message("u@e.test", "v@e.test"))
		r.wantStates(res, "delivered", "failed")
		if res.Rcpts[1].Err == nil || res.Rcpts[1].Err.Reply.Code != 421 || r.s.Reusable() {
			r.t.Errorf("%+v", res.Rcpts[1])
		}
	})
}
