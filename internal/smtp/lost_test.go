package smtp_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// points are where a second transaction can be hit, with two recipients.
func points() []struct {
	name  string
	cue   smtptest.Cue
	sent  bool     // the message was out, whatever the mode
	early []string // states on a warm session with CHUNKING
	else_ []string // states otherwise
} {
	type point = struct {
		name  string
		cue   smtptest.Cue
		sent  bool
		early []string
		else_ []string
	}
	failed := []string{"failed", "failed"}
	unknown := []string{"unknown", "unknown"}
	stale := []string{"not tried", "not tried"}
	return []point{
		{"MAIL", smtptest.Cue{At: smtptest.Mail, Nth: 2}, false, stale, stale},
		{"the first RCPT", smtptest.Cue{At: smtptest.Rcpt, Address: "u@e.test"}, false, unknown, failed},
		{"the second RCPT", smtptest.Cue{At: smtptest.Rcpt, Address: "v@e.test"}, false, unknown, failed},
		{"DATA", smtptest.Cue{At: smtptest.Data, Nth: 2}, false, nil, failed},
		{"the end of the content", smtptest.Cue{At: smtptest.Final, Nth: 2}, true, unknown, unknown},
	}
}

func TestLost(t *testing.T) {
	for _, p := range points() {
		for how, then := range map[string]smtptest.Then{"closed": smtptest.Close, "reset": smtptest.Reset} {
			for name, ext := range modes() {
				want := p.else_
				if name == "chunked" {
					want = p.early
				}
				if want == nil {
					continue
				}
				cue := p.cue
				cue.Then = then
				with(t, "SMTP-20, SMTP-21 "+how+" at "+p.name+", "+name, scripted([]smtptest.Cue{cue}, ext...), func(r *rig) {
					r.warm()
					res := r.send(message("u@e.test", "v@e.test"))
					r.wantStates(res, want...)
					if res.Err.Kind != smtp.Closed || res.Stale != (p.name == "MAIL") || res.Unknown != (want[0] == "unknown") {
						r.t.Errorf("result %+v, %v", res, res.Err)
					}
					if r.s.Reusable() {
						r.t.Error("still of use")
					}
				})
				with(t, "at most once, "+how+" at "+p.name+", "+name, scripted([]smtptest.Cue{cue}, ext...), func(r *rig) {
					r.warm()
					tx := message("u@e.test", "v@e.test")
					tx.Wait = true
					r.wantStates(r.send(tx), p.else_...)
				})
			}
		}
		for name, ext := range modes() {
			if name == "chunked" && p.early == nil {
				continue
			}
			cue := p.cue
			cue.Reply, cue.Then = "421 4.3.2 closing", smtptest.Close
			with(t, "SMTP-19 421 at "+p.name+", "+name, scripted([]smtptest.Cue{cue}, ext...), func(r *rig) {
				r.warm()
				res := r.send(message("u@e.test", "v@e.test"))
				switch {
				case p.sent:
					r.wantStates(res, "refused final 421", "refused final 421")
				case p.name == "MAIL":
					r.wantStates(res, "not tried", "not tried")
					if !res.Stale {
						r.t.Error("not stale")
					}
				default:
					r.wantStates(res, "failed", "failed")
					wantErr(r.t, res.Err, res.Err.Stage, smtp.Replied)
				}
				if r.s.Reusable() {
					r.t.Error("still of use")
				}
			})
		}
	}
	for name, ext := range modes() {
		with(t, "SMTP-20 closed at MAIL of a new session is no doubt and not stale, "+name,
			scripted([]smtptest.Cue{{At: smtptest.Mail, Then: smtptest.Close}}, ext...), func(r *rig) {
				r.open()
				res := r.send(message("u@e.test"))
				r.wantStates(res, "failed")
				if res.Stale {
					r.t.Error("stale")
				}
			})
		with(t, "SMTP-20 closed in the middle of the content, "+name,
			scripted([]smtptest.Cue{{At: smtptest.Content, After: 100_000, Then: smtptest.Reset}}, ext...), func(r *rig) {
				r.warm()
				tx := message("u@e.test")
				tx.Body = body(make(zeros, 1<<20).Bytes())
				r.wantStates(r.send(tx), "failed")
			})
		with(t, "SMTP-19 421 to RSET, "+name, scripted([]smtptest.Cue{
			{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"}, {At: smtptest.Rset, Reply: "421 closing", Then: smtptest.Close},
		}, ext...), func(r *rig) {
			r.warm()
			r.send(message("bad@e.test"))
			res := r.send(message("u@e.test"))
			r.wantStates(res, "not tried")
			if !res.Stale || r.s.Reusable() {
				r.t.Errorf("result %+v", res)
			}
		})
	}
	with(t, "what was refused before the loss is not unknown", scripted([]smtptest.Cue{
		{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"},
		{At: smtptest.Final, Nth: 2, Then: smtptest.Close},
	}, "PIPELINING", "CHUNKING"), func(r *rig) {
		r.warm()
		r.wantStates(r.send(message("u@e.test", "bad@e.test")), "unknown", "refused rcpt 550")
	})
	with(t, "a refused MAIL leaves nothing unknown", scripted([]smtptest.Cue{
		{At: smtptest.Mail, Nth: 2, Reply: "550 no"}, {At: smtptest.Rcpt, Address: "v@e.test", Then: smtptest.Close},
	}, "PIPELINING", "CHUNKING"), func(r *rig) {
		r.warm()
		res := r.send(message("u@e.test", "v@e.test"))
		r.wantStates(res, "refused mail 550", "refused mail 550")
		if res.Unknown {
			r.t.Error("unknown")
		}
	})
}

// zeros is content of digits in lines.
type zeros []byte

func (z zeros) Size() int64                  { return int64(len(z.Bytes())) }
func (z zeros) Open() (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }
func (z zeros) Bytes() []byte {
	line := "0000000000000000000000000000000000000000000000000000000000000000\r\n"
	b := make([]byte, 0, len(z))
	for len(b)+len(line) <= len(z) {
		b = append(b, line...)
	}
	return b
}

func TestCheck(t *testing.T) {
	with(t, "an idle session that is well", offering("PIPELINING"), func(r *rig) {
		r.warm()
		for range 3 {
			r.must(r.s.Check())
		}
		r.wantStates(r.send(message("u@e.test")), "delivered")
	})
	for name, cue := range map[string]smtptest.Cue{
		"421":         {At: smtptest.Final, Reply: "250 taken\n421 idle too long", Then: smtptest.Close},
		"the end":     {At: smtptest.Final, Reply: "250 taken", Then: smtptest.Close},
		"a reset":     {At: smtptest.Final, Reply: "250 taken", Then: smtptest.Reset},
		"a 250":       {At: smtptest.Final, Reply: "250 taken\n250 and more"},
		"half a line": {At: smtptest.Final, Raw: "250 taken\r\n42"},
	} {
		with(t, "SMTP-19, SMTP-42 "+name+" waits on an idle session", abandoned(scripted([]smtptest.Cue{cue}, "PIPELINING")), func(r *rig) {
			r.open()
			r.wantStates(r.send(message("u@e.test")), "delivered")
			var err error
			if d := took(func() { err = r.s.Check() }); d > time.Millisecond {
				r.t.Errorf("took %v", d)
			}
			kind := smtp.Protocol
			switch name {
			case "421":
				kind = smtp.Replied
			case "the end", "a reset":
				kind = smtp.Closed
			}
			wantErr(r.t, err, smtp.StageIdle, kind)
			if r.s.Reusable() {
				r.t.Error("still of use")
			}
		})
	}
}

// mute is a connection that can be made to fail at writing while nothing ends
// the reading.
type mute struct {
	net.Conn
	now bool
}

func (m *mute) Write(p []byte) (int, error) {
	if m.now {
		return 0, io.ErrClosedPipe
	}
	return m.Conn.Write(p)
}

func TestMute(t *testing.T) {
	for name, ext := range modes() {
		for _, n := range []int{1, 1000} {
			with(t, fmt.Sprintf("SMTP-20 a connection that cannot be written to, %s, %d recipients", name, n), abandoned(offering(ext...)), func(r *rig) {
				m := &mute{Conn: r.tap}
				var err error
				r.s, err = smtp.New(m, &r.cfg)
				r.must(err)
				r.warm()
				m.now = true
				var res smtp.Result
				if d := took(func() { res = r.send(message(recipients(n)...)) }); d > 2*time.Second {
					r.t.Errorf("took %v", d)
				}
				if s := res.Rcpts[0].State; s == smtp.Unknown || s == smtp.Delivered || r.s.Reusable() {
					r.t.Errorf("%+v", res.Rcpts[0])
				}
			})
		}
	}
}
