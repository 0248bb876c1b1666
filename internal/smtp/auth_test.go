package smtp_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

const secret = "open-sesame-in-clear"

func plain() sasl.Client { return sasl.NewPlainClient("", "user", secret) }

// authHost offers mechanisms in clear, which these tests look at.
func authHost(mechanisms string, script ...smtptest.Cue) *smtptest.Host {
	return &smtptest.Host{
		Extensions: []string{"AUTH " + mechanisms, "PIPELINING"}, Users: map[string]string{"user": secret},
		Allow: []smtptest.Rule{smtptest.RuleAuthClear}, Script: script,
	}
}

// talker is a mechanism that says what it is told to.
type talker struct {
	name      string
	initial   []byte
	responses [][]byte
	heard     []string
	err       error // of the last answer
	complete  error
}

func (c *talker) Start() (string, []byte, error) { return c.name, c.initial, nil }

func (c *talker) Next(challenge []byte) ([]byte, error) {
	c.heard = append(c.heard, string(challenge))
	if len(c.responses) == 0 {
		return nil, c.err
	}
	r := c.responses[0]
	c.responses = c.responses[1:]
	return r, nil
}

func (c *talker) Complete() error { return c.complete }

func TestAuthInitialResponse(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	long := []byte(strings.Repeat("x", 600))
	fits := []byte(strings.Repeat("y", 372)) // 496 octets encoded
	for name, c := range map[string]struct {
		client talker
		want   []string
	}{
		"EXT-19 an empty initial response is =": {talker{name: "EXTERNAL", initial: []byte{}}, []string{"AUTH EXTERNAL ="}},
		"EXT-19 none is none":                   {talker{name: "EXTERNAL", responses: [][]byte{[]byte("z")}}, []string{"AUTH EXTERNAL", "eg=="}},
		"EXT-19 600 octets take two steps":      {talker{name: "EXTERNAL", initial: long}, []string{"AUTH EXTERNAL", b64(long)}},
		"EXT-19 512 octets take one":            {talker{name: "EXTERNAL", initial: fits}, []string{"AUTH EXTERNAL " + b64(fits)}},
		"EXT-19 513 octets and more take two":   {talker{name: "EXTERNAL", initial: append([]byte("y"), fits...)}, []string{"AUTH EXTERNAL", b64(append([]byte("y"), fits...))}},
	} {
		with(t, name, authHost("EXTERNAL"), func(r *rig) {
			r.open()
			wantErr(t, r.s.Auth(r.t.Context(), &c.client), smtp.StageAuth, smtp.Replied)
			r.wantCommands(c.want...)
		})
	}
}

func TestAuthChallenges(t *testing.T) {
	challenge := func(text string) []smtptest.Cue { return []smtptest.Cue{{At: smtptest.Auth, Reply: text}} }
	with(t, "EXT-19 a challenge that is not base64 is cancelled", authHost("CRAM-MD5", challenge("334 !!")...), func(r *rig) {
		r.open()
		wantErr(r.t, r.s.Auth(r.t.Context(), &talker{name: "CRAM-MD5"}), smtp.StageAuth, smtp.BadAuth)
		r.wantCommands("AUTH CRAM-MD5", "*")
		if r.s.Reusable() {
			r.t.Error("the session would carry mail")
		}
	})
	with(t, "EXT-19 a challenge in two lines is cancelled", authHost("CRAM-MD5", challenge("334-YWJj\n334 ZGVm")...), func(r *rig) {
		r.open()
		wantErr(r.t, r.s.Auth(r.t.Context(), &talker{name: "CRAM-MD5"}), smtp.StageAuth, smtp.BadAuth)
	})
	for octets, ok := range map[int]bool{12288: true, 12292: false} {
		text := strings.Repeat("AAAA", (octets-6)/4)
		text += strings.Repeat("A", octets-6-len(text)-2) + "=="
		text = text[:len(text)-len(text)%4]
		with(t, fmt.Sprintf("EXT-19 a challenge of some %d octets, taken %t", octets, ok), authHost("CRAM-MD5", challenge("334 "+text)...), func(r *rig) {
			r.open()
			c := &talker{name: "CRAM-MD5", responses: [][]byte{[]byte("z")}}
			err := r.s.Auth(r.t.Context(), c)
			if got := len(c.heard) == 1; got != ok || err == nil {
				r.t.Errorf("heard %d challenges, %v; want it taken: %t", len(c.heard), err, ok)
			}
		})
	}
	endless := []smtptest.Cue{{At: smtptest.Auth, Reply: "334 "}, {At: smtptest.AuthReply, Reply: "334 "}}
	with(t, "EXT-19 a server that asks for ever is told to stop", authHost("CRAM-MD5", endless...), func(r *rig) {
		r.open()
		e := wantErr(r.t, r.s.Auth(r.t.Context(), &talker{name: "CRAM-MD5", responses: make([][]byte, 1000)}), smtp.StageAuth, smtp.BadAuth)
		if n := len(r.commands()); n > 20 {
			r.t.Errorf("%d lines, %v", n, e)
		}
	})
	repeated := base64.StdEncoding.EncodeToString([]byte("a nonce of the client's"))
	with(t, "a challenge may repeat what was sent", authHost("CRAM-MD5", challenge("334 "+repeated)...), func(r *rig) {
		r.open()
		c := &talker{name: "CRAM-MD5", initial: []byte("a nonce of the client's"), responses: [][]byte{nil}}
		wantErr(r.t, r.s.Auth(r.t.Context(), c), smtp.StageAuth, smtp.Replied)
		if strings.Join(c.heard, "") != "a nonce of the client's" {
			r.t.Errorf("heard %q", c.heard)
		}
	})
	with(t, "what the mechanism has no answer to is cancelled", authHost("CRAM-MD5", challenge("334 YWJj")...), func(r *rig) {
		r.open()
		c := &talker{name: "CRAM-MD5", err: errors.New("what?")}
		wantErr(r.t, r.s.Auth(r.t.Context(), c), smtp.StageAuth, smtp.BadAuth)
		r.wantCommands("AUTH CRAM-MD5", "*")
		if strings.Join(c.heard, "") != "abc" {
			r.t.Errorf("heard %q", c.heard)
		}
	})
	with(t, "235 without the server's proof is a failure", authHost("CRAM-MD5", smtptest.Cue{At: smtptest.Auth, Reply: "235 2.7.0 welcome"}), func(r *rig) {
		r.open()
		wantErr(r.t, r.s.Auth(r.t.Context(), &talker{name: "CRAM-MD5", complete: errors.New("no proof")}), smtp.StageAuth, smtp.BadAuth)
		if r.s.Reusable() || r.s.Authenticated() {
			r.t.Error("the session counts as logged in")
		}
	})
	with(t, "SMTP-41 each step has its time", authHost("CRAM-MD5", smtptest.Cue{At: smtptest.Auth, Then: smtptest.Stall}), func(r *rig) {
		r.open()
		if d := took(func() { wantErr(r.t, r.s.Auth(r.t.Context(), &talker{name: "CRAM-MD5"}), smtp.StageAuth, smtp.Timeout) }); d != 5*time.Minute {
			r.t.Errorf("took %v", d)
		}
	})
}

func TestAuthOrder(t *testing.T) {
	with(t, "EXT-18 not again after success", authHost("PLAIN"), func(r *rig) {
		r.open()
		r.must(r.s.Auth(r.t.Context(), plain()))
		wantErr(r.t, r.s.Auth(r.t.Context(), plain()), smtp.StageAuth, smtp.Unfit)
	})
	with(t, "EXT-18 not after MAIL", authHost("PLAIN"), func(r *rig) {
		r.open()
		r.send(message("u@e.test"))
		wantErr(r.t, r.s.Auth(r.t.Context(), plain()), smtp.StageAuth, smtp.Unfit)
	})
	with(t, "EXT-18 not where the newest EHLO does not offer it", authHost("CRAM-MD5"), func(r *rig) {
		r.open()
		wantErr(r.t, r.s.Auth(r.t.Context(), plain()), smtp.StageAuth, smtp.Unfit)
		r.wantCommands()
	})
	with(t, "EXT-20 again after a refusal", authHost("PLAIN", smtptest.Cue{At: smtptest.Auth, Nth: 1, Reply: "454 4.7.0 later"}), func(r *rig) {
		r.open()
		if e := wantErr(r.t, r.s.Auth(r.t.Context(), plain()), smtp.StageAuth, smtp.Replied); e.Reply.Code != 454 {
			r.t.Errorf("reply %v", e.Reply)
		}
		r.must(r.s.Auth(r.t.Context(), plain()))
	})
	with(t, "EXT-19, EXT-7 nothing follows AUTH before its reply", authHost("PLAIN"), func(r *rig) {
		r.open()
		r.must(r.s.Auth(r.t.Context(), plain()))
		r.send(message("u@e.test"))
		// The host holds the client to it; this is that it was asked at all.
		r.wantCommands("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00user\x00"+secret)),
			"MAIL FROM:<a@x.test> AUTH=<>", "RCPT TO:<u@e.test>", "DATA", "[25 octets]")
	})
}

func TestSubmitter(t *testing.T) {
	for name, c := range map[string]struct{ submitter, want string }{
		"EXT-21 unknown is <>":  {"", "MAIL FROM:<a@x.test> AUTH=<>"},
		"EXT-21 known is xtext": {"e=mc2@e.test", "MAIL FROM:<a@x.test> AUTH=e+3Dmc2@e.test"},
	} {
		with(t, name, authHost("PLAIN"), func(r *rig) {
			r.open()
			r.must(r.s.Auth(r.t.Context(), plain()))
			tx := message("u@e.test")
			tx.Submitter = c.submitter
			r.wantStates(r.send(tx), "delivered")
			if got := r.commands()[1]; got != c.want {
				r.t.Errorf("said %q, want %q", got, c.want)
			}
		})
	}
	with(t, "EXT-21 no word of it to a server we did not log in to", authHost("PLAIN"), func(r *rig) {
		r.open()
		tx := message("u@e.test")
		tx.Submitter = "e@e.test"
		r.wantStates(r.send(tx), "delivered")
		if got := r.commands()[0]; got != "MAIL FROM:<a@x.test>" {
			r.t.Errorf("said %q", got)
		}
	})
	with(t, "EXT-21 a server that chokes on it gets MAIL without", authHost("PLAIN", smtptest.Cue{At: smtptest.Mail, Nth: 1, Reply: "555 5.5.4 what is AUTH"}), func(r *rig) {
		r.open()
		r.must(r.s.Auth(r.t.Context(), plain()))
		r.wantRcpts(r.sendAll(message("u@e.test")), "delivered")
	})
}

// TestAuthTrace is a server that repeats what it was sent, in several ways.
func TestAuthTrace(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte("\x00user\x00" + secret))
	for name, reply := range map[string]string{
		"as it was sent":     "535 5.7.8 no: " + encoded,
		"folded":             "535-5.7.8 no:\n535-" + encoded[:20] + "\n535 " + encoded[20:],
		"in part":            "535 5.7.8 \"" + encoded[4:24] + "\"?",
		"without a code":     "334 " + encoded,
		"where 421 is owed":  "421 4.7.0 " + encoded,
		"in what is no code": "9" + encoded,
	} {
		cue := smtptest.Cue{At: smtptest.Auth, Reply: reply}
		if strings.HasPrefix(reply, "9") {
			cue = smtptest.Cue{At: smtptest.Auth, Raw: reply[1:] + "\r\n"}
		}
		with(t, "a secret is never part of the trace, nor of an error: "+name, authHost("PLAIN", cue), func(r *rig) {
			r.open()
			err := r.s.Auth(r.t.Context(), plain())
			if err == nil {
				r.t.Fatal("logged in")
			}
			shown := fmt.Sprintf("%v %+v %+v", err, err, r.said)
			for i := 0; i+12 <= len(encoded); i++ {
				if strings.Contains(shown, encoded[i:i+12]) {
					r.t.Fatalf("%q is shown in %s", encoded[i:i+12], shown)
				}
			}
			if !strings.Contains(shown, "AUTH PLAIN <secret>") {
				r.t.Errorf("the trace does not show AUTH: %s", shown)
			}
		})
	}
	with(t, "nor are responses and challenges", authHost("LOGIN"), func(r *rig) {
		r.open()
		r.must(r.s.Auth(r.t.Context(), sasl.NewLoginClient("user", secret)))
		var lines []string
		for _, l := range r.said[len(r.said)-4:] {
			lines = append(lines, l.Text)
		}
		want := "AUTH LOGIN <secret>|334 <challenge>|<secret>|235 2.7.0 welcome"
		if got := strings.Join(lines, "|"); got != want {
			r.t.Errorf("the trace is %s, want %s", got, want)
		}
	})
}
