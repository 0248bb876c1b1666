package smtp_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// bdats are the BDAT commands the host heard.
func (r *rig) bdats() []string {
	var list []string
	for _, c := range r.commands() {
		if strings.HasPrefix(c, "BDAT") {
			list = append(list, c)
		}
	}
	return list
}

func TestChunks(t *testing.T) {
	text := string(make(zeros, 300<<10).Bytes())
	for name, ext := range map[string][]string{"grouped": {"PIPELINING", "CHUNKING"}, "lockstep": {"CHUNKING"}} {
		with(t, "EXT-14 one LAST, on the last chunk, "+name, offering(ext...), func(r *rig) {
			r.open()
			tx := message("u@e.test")
			tx.Body, tx.Binary = streamOf(text), false
			r.wantStates(r.send(tx), "delivered")
			m := r.host.Messages()[0]
			if string(m.Content) != text {
				r.t.Error("the content is not what was sent")
			}
			if name == "lockstep" {
				// Every chunk would cost a round trip: DATA is no slower.
				if m.Chunks != nil {
					r.t.Errorf("chunks %v", m.Chunks)
				}
				return
			}
			if got := r.bdats(); len(got) != 5 || !strings.HasSuffix(got[4], " LAST") || strings.Contains(strings.Join(got[:4], " "), "LAST") {
				r.t.Errorf("said %q", got)
			}
		})
		for _, reply := range []string{"552 5.3.4 enough", "451 4.3.0 not now"} {
			host := scripted([]smtptest.Cue{{At: smtptest.Chunk, Nth: 2, Times: 1, Reply: reply}}, append(ext, "BINARYMIME")...)
			host.Allow = []smtptest.Rule{smtptest.RuleChunkAfterRefuse} // chunks on their way
			with(t, "EXT-14 "+reply+" to the second of five chunks, "+name, host, func(r *rig) {
				r.open()
				tx := message("u@e.test")
				tx.Body, tx.Binary = streamOf(text), true
				r.wantStates(r.send(tx), "refused final "+reply)
				if n := len(r.host.Received()); n > 0 && name == "lockstep" {
					r.t.Errorf("%d messages", n)
				}
				r.wantStates(r.send(message("u@e.test")), "delivered")
				said := r.commands()
				if i := slices.Index(said, "RSET"); i < 0 || !strings.HasPrefix(said[i+1], "MAIL") {
					r.t.Errorf("said %q", said)
				}
				if name == "lockstep" && len(r.bdats()) != 3 {
					r.t.Errorf("said %q", r.bdats())
				}
			})
		}
		for _, nth := range []int{1, 2, 4} {
			host := abandoned(scripted([]smtptest.Cue{{At: smtptest.Chunk, Nth: nth, Reply: "221 2.0.0 enough", Delay: time.Second, Then: smtptest.Close}}, append(ext, "BINARYMIME")...))
			with(t, fmt.Sprintf("SMTP-19 221 and the end at chunk %d of five, %s", nth, name), host, func(r *rig) {
				r.open()
				tx := message("u@e.test")
				tx.Body, tx.Binary = streamOf(text), true
				r.wantStates(r.send(tx), "failed")
				if r.s.Reusable() {
					r.t.Error("still of use")
				}
			})
		}
	}
	with(t, "EXT-14 an empty message is BDAT 0 LAST", offering("PIPELINING", "CHUNKING"), func(r *rig) {
		r.open()
		tx := message("u@e.test")
		tx.Body = body{}
		r.wantStates(r.send(tx), "delivered")
		if got := r.bdats(); !slices.Equal(got, []string{"BDAT 0 LAST"}) {
			r.t.Errorf("said %q", got)
		}
	})
	with(t, "EXT-13 no BDAT where it is not offered", offering("PIPELINING"), func(r *rig) {
		r.warm()
		r.wantStates(r.send(message("u@e.test")), "delivered")
		if got := r.bdats(); len(got) > 0 {
			r.t.Errorf("said %q", got)
		}
	})
	withConfig(t, "EXT-13 no BDAT where the caller knows better", offering("PIPELINING", "CHUNKING"), smtp.Config{Without: smtp.OptChunking}, func(r *rig) {
		r.warm()
		r.wantStates(r.send(message("u@e.test")), "delivered")
		if got := r.bdats(); len(got) > 0 {
			r.t.Errorf("said %q", got)
		}
	})
	with(t, "EXT-14 all refused: nothing is waited for but the replies", scripted([]smtptest.Cue{
		{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"},
	}, "PIPELINING", "CHUNKING"), func(r *rig) {
		r.warm()
		r.wantStates(r.send(message("bad@e.test")), "refused rcpt 550")
		r.wantStates(r.send(message("u@e.test")), "delivered")
	})
	for _, reply := range []string{"500 what", "502 5.5.1 not implemented", "503 bad sequence", "504"} {
		for _, warm := range []bool{false, true} {
			host := scripted([]smtptest.Cue{{At: smtptest.Final, Reply: reply}}, "PIPELINING", "CHUNKING")
			name := " on a new session"
			if warm {
				name = " on a warm session"
				host.Script[0].Nth = 2
			}
			with(t, "CHUNKING offered, and "+reply+" to BDAT"+name, abandoned(host), func(r *rig) {
				r.open()
				if warm {
					r.wantStates(r.send(message("first@e.test")), "delivered")
				}
				res := r.send(message("u@e.test", "v@e.test"))
				r.wantStates(res, "failed", "failed")
				if e := wantErr(r.t, res.Err, smtp.StageFinal, smtp.Incapable); e.Reply.String() != reply {
					r.t.Errorf("reply %+v", e.Reply)
				}
				if r.s.Reusable() {
					r.t.Error("still of use")
				}
			})
		}
	}
	with(t, "a refusal with a status of its own is about the message", scripted([]smtptest.Cue{
		{At: smtptest.Final, Reply: "503 5.7.1 spam"},
	}, "PIPELINING", "CHUNKING"), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("u@e.test")), "refused final 503 5.7.1")
	})
}

func TestEightBit(t *testing.T) {
	eight := func(tx *smtp.Transaction) *smtp.Transaction {
		tx.EightBit, tx.Body = true, body("Subject: x\r\nMIME-Version: 1.0\r\n\r\n\xfc\r\n")
		return tx
	}
	for _, c := range []struct {
		name string
		ext  []string
		tx   *smtp.Transaction
		mail string // "" where it is not sent
		stat string
	}{
		{"EXT-11 7-bit content has no BODY", []string{"8BITMIME"}, message("u@e.test"), "MAIL FROM:<a@x.test>", ""},
		{"EXT-11 8-bit content", []string{"8BITMIME"}, eight(message("u@e.test")), "MAIL FROM:<a@x.test> BODY=8BITMIME", ""},
		{"EXT-11, EXT-12 8-bit content, 7-bit server", []string{"SIZE", "PIPELINING", "CHUNKING"}, eight(message("u@e.test")), "", "5.6.3"},
		{"EXT-11, EXT-12 8-bit content after HELO", []string{"HELO"}, eight(message("u@e.test")), "", "5.6.3"},
		{"EXT-15 binary content", []string{"8BITMIME", "CHUNKING", "BINARYMIME"}, binary(message("u@e.test")), "MAIL FROM:<a@x.test> BODY=BINARYMIME", ""},
		{"EXT-15 binary content without BINARYMIME", []string{"8BITMIME", "CHUNKING"}, binary(message("u@e.test")), "", "5.6.1"},
		{"EXT-15 binary content without CHUNKING", []string{"8BITMIME", "BINARYMIME"}, binary(message("u@e.test")), "", "5.6.1"},
	} {
		host := offering(c.ext...)
		if c.ext[0] == "HELO" {
			host = &smtptest.Host{NoEHLO: true}
		}
		host.Allow = []smtptest.Rule{smtptest.RuleContentLineEnd, smtptest.RuleContentNUL}
		with(t, c.name, host, func(r *rig) {
			r.open()
			r.check(c.tx, c.mail, c.stat)
		})
	}
	host := offering("8BITMIME", "CHUNKING", "BINARYMIME")
	host.Allow = []smtptest.Rule{smtptest.RuleContentLineEnd, smtptest.RuleContentNUL}
	withConfig(t, "EXT-15 binary content where BDAT is broken", host, smtp.Config{Without: smtp.OptChunking}, func(r *rig) {
		r.open()
		r.check(binary(message("u@e.test")), "", "5.6.1")
	})
}

func binary(tx *smtp.Transaction) *smtp.Transaction {
	tx.EightBit, tx.Binary, tx.Body = true, true, body("MIME-Version: 1.0\r\n\r\n\x00\n\r\xff")
	return tx
}

// check sends a transaction and holds its MAIL, or why there was none, against
// what is wanted.
func (r *rig) check(tx *smtp.Transaction, mail, status string) {
	r.t.Helper()
	res := r.send(tx)
	if status != "" {
		r.wantStates(res, "not tried")
		if e := wantErr(r.t, res.Rcpts[0].Err, smtp.StageMail, smtp.Unfit); e.Enhanced != status {
			r.t.Errorf("status %q, wanted %q", e.Enhanced, status)
		}
		if got := strings.Join(r.commands(), "\n"); strings.Contains(got, "MAIL") || !r.s.Reusable() {
			r.t.Errorf("said %q", got)
		}
		return
	}
	r.wantStates(res, "delivered")
	if got := r.commands()[0]; got != mail {
		r.t.Errorf("said %q", got)
	}
	if got := string(r.host.Messages()[0].Content); got != string(tx.Body.Bytes()) {
		r.t.Errorf("arrived %q", got)
	}
}
