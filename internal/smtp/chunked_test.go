package smtp_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

// TestChunkReplies is what each reply to a chunk does to the transaction, and to what
// follows it.
func TestChunkReplies(t *testing.T) {
	text := string(make(zeros, 300<<10).Bytes())
	chunked := []string{"PIPELINING", "CHUNKING"}
	for _, c := range []struct {
		name string
		at   smtptest.Cue
		want string
		kind smtp.Kind // of the error, if there is one
	}{
		{"3yz to a chunk", smtptest.Cue{At: smtptest.Chunk, Nth: 1, Reply: "354 go on"}, "failed", smtp.Protocol},
		{"3yz to the last", smtptest.Cue{At: smtptest.Final, Reply: "354 go on"}, "unknown", smtp.Protocol},
	} {
		with(t, "EXT-14 "+c.name, abandoned(scripted([]smtptest.Cue{c.at}, chunked...)), func(r *rig) {
			r.open()
			tx := message("u@e.test")
			tx.Body = streamOf(text)
			res := r.send(tx)
			r.wantStates(res, c.want)
			wantErr(r.t, res.Err, smtp.StageFinal, c.kind)
		})
	}
	refusing := func(reply string) *smtptest.Host {
		return abandoned(scripted([]smtptest.Cue{
			{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"}, {At: smtptest.Chunk, Times: 1}, {At: smtptest.Chunk, Reply: reply, Times: 1},
		}, chunked...))
	}
	for reply, over := range map[string]bool{"500 what": true, "502 what": true, "503 what": false, "554 no": false, "451 later": false} {
		with(t, "EXT-14 "+reply+" to content that went along for nobody", refusing(reply), func(r *rig) {
			r.warm()
			res := r.send(message("bad@e.test"))
			r.wantStates(res, "refused rcpt 550")
			if r.s.Reusable() == over || res.Doubt.Next&smtp.OptChunking != 0 {
				r.t.Errorf("still of use: %t, in doubt: %+v", !over, res.Doubt)
			}
		})
	}
	for reply, doubt := range map[string]smtp.Doubt{
		"451 later": {Next: smtp.OptChunking, Brief: smtp.OptChunking}, "552 5.3.4 enough": {},
	} {
		with(t, "EXT-14 "+reply+" to content that went along", refusing(reply), func(r *rig) {
			r.warm()
			res := r.send(message("u@e.test"))
			r.wantStates(res, "refused final "+reply)
			if res.Doubt != doubt {
				r.t.Errorf("in doubt: %+v, want %+v", res.Doubt, doubt)
			}
		})
	}
	host := refusing("250 taken")
	with(t, "EXT-14 a host that takes a message for nobody", host, func(r *rig) {
		r.warm()
		r.wantStates(r.send(message("bad@e.test")), "refused rcpt 550")
		r.wantStates(r.send(message("u@e.test")), "delivered")
		if said := r.commands(); !slices.Contains(said, "RSET") {
			r.t.Errorf("said %q", said)
		}
	})
	for name, c := range map[string]struct {
		ext   []string
		trips int
	}{"lockstep": {[]string{"CHUNKING", "BINARYMIME"}, 7}} {
		with(t, "EXT-14 the round trips of five chunks, "+name, offering(c.ext...), func(r *rig) {
			r.open()
			n := r.trips()
			tx := message("u@e.test")
			tx.Body, tx.Binary = streamOf(text), true
			r.wantStates(r.send(tx), "delivered")
			if d := r.trips() - n; d != c.trips {
				r.t.Errorf("%d round trips, want %d", d, c.trips)
			}
		})
	}
}

// TestResetAndLost is a session that is lost, or refuses to begin anew, after RSET.
func TestResetAndLost(t *testing.T) {
	bad := smtptest.Cue{At: smtptest.Rcpt, Address: "bad@e.test", Reply: "550 no"}
	for name, ext := range modes() {
		with(t, "SMTP-19 lost at MAIL, after RSET, "+name, abandoned(scripted([]smtptest.Cue{bad, {At: smtptest.Mail, Nth: 3, Then: smtptest.Close}}, ext...)), func(r *rig) {
			r.warm()
			r.send(message("bad@e.test"))
			res := r.send(message("u@e.test"))
			r.wantStates(res, "not tried")
			if !res.Stale {
				r.t.Error("not stale")
			}
		})
		with(t, "SMTP-26 3yz to RSET, "+name, abandoned(scripted([]smtptest.Cue{bad, {At: smtptest.Rset, Reply: "354 what"}}, ext...)), func(r *rig) {
			r.warm()
			r.send(message("bad@e.test"))
			if res := r.send(message("u@e.test")); res.Err == nil || res.Err.Kind != smtp.Protocol || res.Err.Stage != smtp.StageReset || r.s.Reusable() {
				r.t.Errorf("%+v", res.Err)
			}
		})
		host := abandoned(scripted([]smtptest.Cue{bad, {At: smtptest.Rset, Reply: "500 what"}}, ext...))
		host.Allow = append(host.Allow, smtptest.RuleNestedMail) // it was on its way
		if name == "chunked" {
			continue // the content goes along, as group_test.go shows
		}
		with(t, "SMTP-26 RSET that is refused, "+name, host, func(r *rig) {
			r.warm()
			r.send(message("bad@e.test"))
			res := r.send(message("u@e.test"))
			r.wantStates(res, "not tried")
			if !res.Stale || r.s.Reusable() {
				r.t.Errorf("stale: %t", res.Stale)
			}
		})
	}
	with(t, "EXT-26 recipients of one domain, where one is allowed", offering("LIMITS RCPTDOMAINMAX=1"), func(r *rig) {
		r.open()
		r.wantStates(r.send(message("u@e.test", "v@e.test", "w@f.test")), "delivered", "delivered", "not tried")
	})
}

// TestAuthEnds is how an exchange ends that does not go well.
func TestAuthEnds(t *testing.T) {
	challenge := smtptest.Cue{At: smtptest.AuthReply, Raw: "334 \r\n"}
	begin := smtptest.Cue{At: smtptest.Auth, Raw: "334 \r\n"}
	answers := func() *talker { return &talker{name: "EXTERNAL", responses: make([][]byte, 20)} }
	for n, want := range map[int]error{10: nil, 11: errors.New("too many")} {
		script := []smtptest.Cue{begin}
		for i := 1; i < n; i++ {
			challenge.Nth = i
			script = append(script, challenge)
		}
		script = append(script, smtptest.Cue{At: smtptest.AuthReply, Nth: n, Reply: "235 ok"})
		with(t, "EXT-20 as many challenges as there may be, or one more", authHost("EXTERNAL", script...), func(r *rig) {
			r.open()
			err := r.s.Auth(r.t.Context(), answers())
			if (err == nil) != (want == nil) || r.s.Authenticated() != (want == nil) {
				r.t.Errorf("%d challenges: %v", n, err)
			}
			if err != nil {
				wantErr(r.t, err, smtp.StageAuth, smtp.BadAuth)
			}
		})
	}
	for _, c := range []struct {
		name   string
		script []smtptest.Cue
		kind   smtp.Kind
		doubt  smtp.Doubt
	}{
		{"refused", []smtptest.Cue{{At: smtptest.Auth, Reply: "504 no"}}, smtp.Replied, smtp.Doubt{}},
		{"not now", []smtptest.Cue{{At: smtptest.Auth, Reply: "454 no"}}, smtp.Replied, smtp.Doubt{Next: smtp.OptExternal, Brief: smtp.OptExternal}},
		{"closed", []smtptest.Cue{{At: smtptest.Auth, Then: smtptest.Close}}, smtp.Closed, smtp.Doubt{Next: smtp.OptExternal}},
		{"a reply too many", []smtptest.Cue{{At: smtptest.Auth, Raw: "334 \r\n334 \r\n"}}, smtp.Protocol, smtp.Doubt{Next: smtp.OptExternal}},
		{"3yz in the end", []smtptest.Cue{begin, {At: smtptest.AuthReply, Reply: "354 what"}}, smtp.Protocol, smtp.Doubt{Next: smtp.OptExternal}},
		{"a challenge that is no base64", []smtptest.Cue{{At: smtptest.Auth, Raw: "334 !\r\n"}}, smtp.BadAuth, smtp.Doubt{Next: smtp.OptExternal}},
	} {
		with(t, "EXT-20 "+c.name, abandoned(authHost("EXTERNAL", c.script...)), func(r *rig) {
			r.open()
			e := wantErr(r.t, r.s.Auth(r.t.Context(), answers()), smtp.StageAuth, c.kind)
			if e.Doubt != c.doubt {
				r.t.Errorf("in doubt: %+v, want %+v", e.Doubt, c.doubt)
			}
		})
	}
	with(t, "EXT-20 not on a session that only QUIT is for", authHost("EXTERNAL", smtptest.Cue{At: smtptest.Auth, Reply: "421 bye"}), func(r *rig) {
		r.open()
		wantErr(r.t, r.s.Auth(r.t.Context(), answers()), smtp.StageAuth, smtp.Replied)
		wantErr(r.t, r.s.Auth(r.t.Context(), answers()), smtp.StageAuth, smtp.Unfit)
		if n := strings.Count(strings.Join(r.commands(), "\n"), "AUTH"); n != 1 {
			r.t.Errorf("AUTH was said %d times", n)
		}
	})
	for _, code := range []string{"530 TLS first", "534 too weak", "538 TLS first", "535 no", "525 no"} {
		with(t, "EXT-19 "+code+" is not about the initial response", authHost("PLAIN", smtptest.Cue{At: smtptest.Auth, Reply: code}), func(r *rig) {
			r.open()
			wantErr(r.t, r.s.Auth(r.t.Context(), proving{plain()}), smtp.StageAuth, smtp.Replied)
			if n := strings.Count(strings.Join(r.commands(), "\n"), "AUTH"); n != 1 {
				r.t.Errorf("AUTH was said %d times", n)
			}
		})
	}
}

// proving is a client whose initial response proves something.
type proving struct{ sasl.Client }

func (proving) Proves() bool { return true }
