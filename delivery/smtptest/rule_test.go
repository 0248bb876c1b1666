package smtptest_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// wrong is a client that breaks one rule.
type wrong struct {
	rule     smtptest.Rule
	name     string // where one rule has several cases
	offers   string // extensions, separated by ";"
	script   []smtptest.Cue
	users    map[string]string
	dialogue string
	inside   string // played inside TLS after the dialogue
	noQuit   bool   // the dialogue ends the session itself
}

// Parts that most dialogues begin and end with.
const (
	hello = "S: 220 host.example ESMTP\nC: EHLO client.example\n"
	plain = hello + "S: 250 host.example greets you\n"
	start = plain + "C: MAIL FROM:<a@a.example>\nS: 250 2.1.0 ok\nC: RCPT TO:<b@b.example>\nS: 250 2.1.5 ok\n"
	body  = start + "C: DATA\nS: 354 go ahead\n"
	taken = "C: .\nS: 250 2.0.0 taken\n"
	rset  = "C: RSET\nS: 250 2.0.0 ok\n"
	quit  = "C: QUIT\nS: 221 2.0.0 bye\nEOF"
)

// offering is the opening where a host offers extensions.
func offering(list string) string {
	all := append([]string{"host.example greets you"}, strings.Split(list, ";")...)
	text := hello
	for i, e := range all {
		sep := "-"
		if i == len(all)-1 {
			sep = " "
		}
		text += "S: 250" + sep + e + "\n"
	}
	return text
}

func (w *wrong) host() *smtptest.Host {
	h := &smtptest.Host{Script: w.script, Users: w.users}
	if w.offers != "" {
		h.Extensions = strings.Split(w.offers, ";")
	}
	return h
}

func TestRulesAreEnforced(t *testing.T) {
	cases := slices.Concat(wrongLines(), wrongOrder(), wrongEnvelopes(), wrongContents(), wrongSecurity())
	caught := map[smtptest.Rule]bool{}
	for _, c := range cases {
		name := string(c.rule)
		if c.name != "" {
			name += ": " + c.name
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := c.host()
				opening := ""
				if c.offers != "" && !strings.HasPrefix(strings.TrimSpace(c.dialogue), "S:") {
					opening = offering(c.offers)
				}
				end := quit
				if c.noQuit {
					end = ""
				}
				if c.inside != "" {
					talk(t, h, opening+c.dialogue, c.inside+"\n"+end)
				} else {
					talk(t, h, opening+strings.TrimSpace(c.dialogue)+"\n"+end)
				}
				if got := rules(h); !slices.Equal(got, []smtptest.Rule{c.rule}) {
					t.Errorf("caught %q, want %q alone; violations: %v", got, c.rule, h.Violations())
				}
			})
		})
		caught[c.rule] = true
	}
	for _, r := range smtptest.Rules() {
		if !caught[r] {
			t.Errorf("no case for the rule %q", r)
		}
		if !strings.HasPrefix(r.Section(), "RFC ") {
			t.Errorf("rule %q stands nowhere", r)
		}
	}
}

func TestAllowedRulesAreNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &smtptest.Host{Allow: []smtptest.Rule{smtptest.RuleLocalhost}}
		talk(t, h, "S: 220 host.example ESMTP\nC: EHLO localhost\nS: 250 host.example greets you\n"+quit)
		if got := h.Violations(); len(got) != 0 {
			t.Errorf("violations %v", got)
		}
	})
}
