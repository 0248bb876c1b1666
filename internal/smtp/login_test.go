package smtp_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/sasl"
	"github.com/nexthop-mail/nexthop/internal/smtp"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestLoginPrompts is LOGIN with servers that ask in words of their own. What is
// said and heard is in the clear here, and as base64 on the wire.
func TestLoginPrompts(t *testing.T) {
	const user, pass = "alice", "open-sesame"
	for _, c := range []struct {
		name    string
		replies []string // to AUTH and what follows; a prompt, or a whole reply
		want    []string // what follows "AUTH LOGIN"
	}{
		{"small letters", []string{"password:", "235 2.7.0 ok"}, []string{"AUTH LOGIN alice", pass}},
		{"no colon", []string{"Password", "235 2.7.0 ok"}, []string{"AUTH LOGIN alice", pass}},
		{"capitals", []string{"PASSWORD:", "235 2.7.0 ok"}, []string{"AUTH LOGIN alice", pass}},
		{"other words", []string{"Passcode for alice:", "235 2.7.0 ok"}, []string{"AUTH LOGIN alice", pass}},
		{"no words", []string{"", "235 2.7.0 ok"}, []string{"AUTH LOGIN alice", pass}},
		{"the user's password", []string{"User password:", "235 2.7.0 ok"}, []string{"AUTH LOGIN alice", pass}},
		{"Passwort", []string{"Passwort:", "235 2.7.0 ok"}, []string{"AUTH LOGIN alice", pass}},
		{"the user once more", []string{"Username:", "Password:", "235 2.7.0 ok"}, []string{"AUTH LOGIN alice", user, pass}},
		{"the user once more, by the draft", []string{"User Name\x00", "Password\x00", "235 2.7.0 ok"}, []string{"AUTH LOGIN alice", user, pass}},
		{"the login once more", []string{" login: ", "password: ", "235 2.7.0 ok"}, []string{"AUTH LOGIN alice", user, pass}},
		{"the user twice more", []string{"User:", "User:", "235 2.7.0 ok"}, []string{"AUTH LOGIN alice", user, pass}},
		{"535 to the initial response", []string{"535 Authentication Failed", "Username:", "Password:", "235 2.7.0 ok"}, []string{"AUTH LOGIN alice", "AUTH LOGIN", user, pass}},
		{"501 to the initial response", []string{"501 5.5.2 no", "", "", "235 2.7.0 ok"}, []string{"AUTH LOGIN alice", "AUTH LOGIN", user, pass}},
		{"503 to the initial response", []string{"503 bad", "x", "y", "235 2.7.0 ok"}, []string{"AUTH LOGIN alice", "AUTH LOGIN", user, pass}},
	} {
		script := make([]smtptest.Cue, 0, len(c.replies))
		auths, answers := 0, 0
		for i, reply := range c.replies {
			cue := smtptest.Cue{Raw: reply + "\r\n"}
			if len(reply) < 4 || reply[3] != ' ' || reply[0] < '2' || reply[0] > '5' {
				cue.Raw = "334 " + b64(reply) + "\r\n"
			}
			if i == 0 || strings.HasPrefix(c.replies[i-1], "5") {
				auths++
				cue.At, cue.Nth = smtptest.Auth, auths
			} else {
				answers++
				cue.At, cue.Nth = smtptest.AuthReply, answers
			}
			script = append(script, cue)
		}
		with(t, "EXT-18 LOGIN and a prompt of "+c.name, authHost("LOGIN", script...), func(r *rig) {
			r.open()
			l := &sasl.Login{User: user, Password: pass}
			client, err := l.Client(sasl.LoginMechanism)
			r.must(err)
			r.must(r.s.Auth(r.t.Context(), client))
			want := slices.Clone(c.want)
			for i, line := range want {
				if rest, ok := strings.CutPrefix(line, "AUTH LOGIN "); ok {
					want[i] = "AUTH LOGIN " + b64(rest)
				} else if line != "AUTH LOGIN" {
					want[i] = b64(line)
				}
			}
			r.wantCommands(want...)
			if refused := c.replies[0] != "" && c.replies[0][0] == '5'; refused != (r.s.Lacks() == smtp.OptInitial) {
				r.t.Errorf("lacks %v", r.s.Lacks())
			}
		})
	}
	// A server that takes the initial response and asks for the user name all the same, in
	// words that may mean anything: it must not get the password for an answer.
	for _, words := range [][2]string{{"Benutzer:", "Kennwort:"}, {"Account", "Secret"}, {"\x00\xff", "\x00\xfe"}, {"?", "?"}} {
		with(t, "EXT-18 LOGIN and prompts in unknown words, "+strconv.Quote(words[0]), authHost("LOGIN",
			smtptest.Cue{At: smtptest.Auth, Raw: "334 " + b64(words[0]) + "\r\n"},
			smtptest.Cue{At: smtptest.AuthReply, Nth: 1, Raw: "501 5.7.0 cancelled\r\n"},
			smtptest.Cue{At: smtptest.AuthReply, Nth: 2, Raw: "334 " + b64(words[1]) + "\r\n"},
			smtptest.Cue{At: smtptest.AuthReply, Nth: 3, Raw: "235 2.7.0 ok\r\n"},
		), func(r *rig) {
			r.open()
			client, err := (&sasl.Login{User: user, Password: pass}).Client(sasl.LoginMechanism)
			r.must(err)
			r.must(r.s.Auth(r.t.Context(), client))
			r.wantCommands("AUTH LOGIN "+b64(user), "*", "AUTH LOGIN", b64(user), b64(pass))
			if r.s.Lacks() != smtp.OptInitial {
				r.t.Errorf("lacks %v", r.s.Lacks())
			}
		})
	}
	with(t, "LOGIN and a server that goes on after it was broken off", authHost("LOGIN",
		smtptest.Cue{At: smtptest.Auth, Raw: "334 " + b64("Benutzer:") + "\r\n"}, smtptest.Cue{At: smtptest.AuthReply, Raw: "334 " + b64("Kennwort:") + "\r\n"},
	), func(r *rig) {
		r.open()
		client, err := (&sasl.Login{User: user, Password: pass}).Client(sasl.LoginMechanism)
		r.must(err)
		wantErr(r.t, r.s.Auth(r.t.Context(), client), smtp.StageAuth, smtp.Protocol)
		r.wantCommands("AUTH LOGIN "+b64(user), "*")
	})
	with(t, "EXT-19 LOGIN and a server that closes when it is broken off: the next time without initial response", abandoned(authHost("LOGIN",
		smtptest.Cue{At: smtptest.Auth, Raw: "334 " + b64("Benutzer:") + "\r\n"}, smtptest.Cue{At: smtptest.AuthReply, Then: smtptest.Close},
	)), func(r *rig) {
		r.open()
		client, err := (&sasl.Login{User: user, Password: pass}).Client(sasl.LoginMechanism)
		r.must(err)
		e := wantErr(r.t, r.s.Auth(r.t.Context(), client), smtp.StageAuth, smtp.Closed)
		if e.Doubt.Next != smtp.OptInitial {
			r.t.Errorf("doubt %+v", e.Doubt)
		}
	})
	with(t, "LOGIN says the password once", authHost("LOGIN",
		smtptest.Cue{At: smtptest.Auth, Reply: "334 "}, smtptest.Cue{At: smtptest.AuthReply, Reply: "334 "}), func(r *rig) {
		r.open()
		client, err := (&sasl.Login{User: user, Password: pass}).Client(sasl.LoginMechanism)
		r.must(err)
		wantErr(r.t, r.s.Auth(r.t.Context(), client), smtp.StageAuth, smtp.BadAuth)
		r.wantCommands("AUTH LOGIN "+b64(user), b64(pass), "*")
	})
}

// TestInitialResponse is when an initial response is held back.
func TestInitialResponse(t *testing.T) {
	for reply, again := range map[string]bool{
		"500 what": true, "501 5.5.4 no": true, "502 no": true, "555 5.5.4 no": true, "550 no": true,
		"535 5.7.8 wrong": false, "535 wrong": false, "554 5.7.0 no": false,
		"504 5.5.4 no such mechanism": true, "534 5.7.9 weak": false, "538 5.7.11 not in clear": false, "530 5.7.0 TLS first": false,
		"454 4.7.0 later": false, "421 4.3.2 closing": false,
	} {
		with(t, "EXT-19 "+reply+" to a response that proves something", authHost("PLAIN", smtptest.Cue{At: smtptest.Auth, Nth: 1, Reply: reply}), func(r *rig) {
			r.open()
			client, err := (&sasl.Login{User: "user", Password: secret}).Client(sasl.Plain)
			r.must(err)
			err = r.s.Auth(r.t.Context(), client)
			if said := r.heard("AUTH"); (err == nil) != again || (len(said) == 2) != again {
				r.t.Errorf("%v, said %q, want it said again: %t", err, said, again)
			}
		})
	}
	cfg := smtp.Config{Without: smtp.OptInitial}
	withConfig(t, "EXT-19 none where it is known not to work", authHost("PLAIN"), cfg, func(r *rig) {
		r.open()
		client, err := (&sasl.Login{User: "user", Password: secret}).Client(sasl.Plain)
		r.must(err)
		r.must(r.s.Auth(r.t.Context(), client))
		r.wantCommands("AUTH PLAIN", b64("\x00user\x00"+secret))
	})
	withConfig(t, "EXT-19 a response of more than 12,288 octets is not sent", authHost("EXTERNAL", smtptest.Cue{At: smtptest.Auth, Reply: "334 "}), cfg, func(r *rig) {
		r.open()
		wantErr(r.t, r.s.Auth(r.t.Context(), &talker{name: "EXTERNAL", initial: []byte(strings.Repeat("x", 9300))}), smtp.StageAuth, smtp.BadAuth)
		r.wantCommands("AUTH EXTERNAL", "*")
	})
}

// TestAuthDoubt is what may be to blame for an exchange that came to grief.
func TestAuthDoubt(t *testing.T) {
	first, later := smtp.OptInitial|smtp.OptPlain, smtp.OptLogin
	for form, cue := range map[string]smtptest.Cue{
		"closed":   {Then: smtptest.Close},
		"reset":    {Then: smtptest.Reset},
		"silence":  {Then: smtptest.Stall},
		"nonsense": {Raw: "what?\r\n"},
		"250":      {Reply: "354 go on"},
		"421":      {Reply: "421 4.3.2 closing", Then: smtptest.Close},
		"4yz":      {Reply: "454 4.7.0 not now"},
	} {
		brief := form == "421" || form == "4yz"
		for name, c := range map[string]struct {
			at        smtptest.Stage
			mechanism string
			want      smtp.Option
		}{
			"AUTH with a response": {smtptest.Auth, sasl.Plain, first},
			"the answer":           {smtptest.AuthReply, sasl.LoginMechanism, later},
		} {
			cue.At = c.at
			with(t, form+" at "+name, abandoned(authHost("PLAIN LOGIN", cue)), func(r *rig) {
				r.open()
				client, err := (&sasl.Login{User: "user", Password: secret}).Client(c.mechanism)
				r.must(err)
				e, ok := errors.AsType[*smtp.Error](r.s.Auth(r.t.Context(), client))
				if !ok || e.Doubt.Next != c.want || (e.Doubt.Brief == c.want) != brief || e.Doubt.Now != 0 {
					r.t.Errorf("%+v, want %v", e, c.want)
				}
			})
		}
	}
	with(t, "a server that did not prove who it is is not given more", authHost("CRAM-MD5", smtptest.Cue{At: smtptest.Auth, Reply: "235 2.7.0 welcome"}), func(r *rig) {
		r.open()
		e, ok := errors.AsType[*smtp.Error](r.s.Auth(r.t.Context(), &talker{name: "CRAM-MD5", complete: fmt.Errorf("no proof")}))
		if !ok || e.Doubt != (smtp.Doubt{}) {
			r.t.Errorf("%+v", e)
		}
	})
	with(t, "a challenge that makes no sense blames the mechanism", authHost("CRAM-MD5", smtptest.Cue{At: smtptest.Auth, Reply: "334 !!"}), func(r *rig) {
		r.open()
		e, ok := errors.AsType[*smtp.Error](r.s.Auth(r.t.Context(), &talker{name: "CRAM-MD5"}))
		if !ok || e.Doubt.Next != smtp.OptCramMD5 {
			r.t.Errorf("%+v", e)
		}
	})
}

// TestMechanismsAddUp is AUTH in several lines, and as it was written before
// there was an RFC for it.
func TestMechanismsAddUp(t *testing.T) {
	for lines, want := range map[string]struct {
		mechanisms string
		parameter  bool
	}{
		"AUTH=PLAIN LOGIN|SIZE":                {"PLAIN LOGIN", false},
		"AUTH =PLAIN LOGIN|SIZE":               {"PLAIN LOGIN", true},
		"AUTH|AUTH=PLAIN LOGIN|SIZE":           {"PLAIN LOGIN", true},
		"AUTH GSSAPI NTLM|AUTH PLAIN LOGIN":    {"GSSAPI NTLM PLAIN LOGIN", true},
		"AUTH PLAIN|AUTH=PLAIN LOGIN":          {"PLAIN LOGIN", true},
		"auth=plain|Auth login":                {"PLAIN LOGIN", true},
		"AUTH= PLAIN LOGIN":                    {"PLAIN LOGIN", false},
		"AUTH PLAIN|HELP|AUTH LOGIN|SIZE|AUTH": {"PLAIN LOGIN", true},
		"AUTH PLAIN":                           {"PLAIN", true},
		"AUTH PLAIN,LOGIN":                     {"PLAIN LOGIN", true},
		"AUTH PLAIN, LOGIN , CRAM-MD5":         {"PLAIN LOGIN CRAM-MD5", true},
		"AUTHX=PLAIN|X-AUTH PLAIN":             {"", false},
		"AUTH\tPLAIN LOGIN":                    {"PLAIN LOGIN", true},
		"AUTH PLAIN\tLOGIN|SIZE":               {"PLAIN LOGIN", true},
		"AUTH:PLAIN LOGIN":                     {"PLAIN LOGIN", true},
		"AUTH: PLAIN LOGIN":                    {"PLAIN LOGIN", true},
		"AUTH :PLAIN LOGIN":                    {"PLAIN LOGIN", true},
	} {
		greeted(t, "SMTP-6, EXT-18 "+lines, "250-h\r\n250-"+strings.ReplaceAll(lines, "|", "\r\n250-")+"\r\n250 HELP\r\n", func(t *testing.T, x *smtp.Extensions) {
			if got := strings.Join(x.Auth, " "); got != want.mechanisms || x.AuthParameter != want.parameter {
				t.Errorf("%q, parameter %t", got, x.AuthParameter)
			}
		})
	}
	greeted(t, "SMTP-6 keywords with a tab or a colon behind them", "250-h\r\n250-SIZE\t1000\r\n250-STARTTLS\t\r\n250 8BITMIME:\r\n", func(t *testing.T, x *smtp.Extensions) {
		if x.MaxSize != 1000 || !x.StartTLS || !x.EightBitMIME {
			t.Errorf("%+v", x)
		}
	})
	greeted(t, "SMTP-6 SIZE as some write it", "250-h\r\n250-SIZE=1000\r\n250 HELP\r\n", func(t *testing.T, x *smtp.Extensions) {
		if x.MaxSize != 1000 {
			t.Errorf("%+v", x)
		}
	})
}
