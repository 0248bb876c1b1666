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
		n := r.host.RoundTrips()
		r.wantStates(r.send(message("u@e.test", "v@e.test")), "delivered", "delivered")
		if d := r.host.RoundTrips() - n; d != 2 {
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
		n := r.host.RoundTrips()
		r.wantStates(r.send(message("u@e.test", "v@e.test")), "delivered", "delivered")
		if d := r.host.RoundTrips() - n; d != 4 {
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
