package session

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// tokens is a source that gives one token after the other, and then none.
type tokens struct {
	list  []string
	asked []string // what had been refused
}

func (s *tokens) Token(_ context.Context, refused string) (string, error) {
	s.asked = append(s.asked, refused)
	if len(s.list) == 0 {
		return "", errors.New("none left")
	}
	token := s.list[0]
	s.list = s.list[1:]
	return token, nil
}

// TestLoginDialogue is which mechanisms a login goes through, and what comes of it.
func TestLoginDialogue(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	own, err := ca.Certificate("user")
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(mechanism, reply string) smtptest.Cue {
		return smtptest.Cue{At: smtptest.Auth, Said: mechanism, Reply: reply}
	}
	user := smarthost.Login{User: "user", Password: "secret"}
	for _, c := range []struct {
		name    string
		offered string
		login   smarthost.Login
		tokens  []string // if any, the login has them
		script  []smtptest.Cue
		level   mx.TLSLevel
		said    string // the mechanisms of the AUTH commands; again without the initial response
		asked   string // what tokens were asked for in the place of
		code    int    // of the reply that is the error, if it is one
		kind    smtp.Kind
		fails   bool
		doubt   smtp.Option
		lacks   smtp.Option
	}{
		{name: "the first will do", offered: "CRAM-MD5 PLAIN", login: user, said: "CRAM-MD5"},
		{name: "one that is not known is not said again", offered: "CRAM-MD5 PLAIN", login: user,
			script: []smtptest.Cue{refuse("CRAM-MD5", "504 no")}, said: "CRAM-MD5 PLAIN", lacks: smtp.OptCramMD5},
		{name: "none is known", offered: "CRAM-MD5 PLAIN LOGIN", login: user,
			script: []smtptest.Cue{refuse("", "504 no")}, said: "CRAM-MD5 PLAIN PLAIN LOGIN", fails: true, code: 504},
		{name: "a host that closes after it has refused one", offered: "CRAM-MD5 PLAIN", login: user,
			script: []smtptest.Cue{refuse("CRAM-MD5", "504 no"), {At: smtptest.Auth, Then: smtptest.Close}},
			said:   "CRAM-MD5 PLAIN", fails: true, kind: smtp.Closed, doubt: smtp.OptCramMD5},
		{name: "that the proof is refused says more than that another mechanism is not known", offered: "SCRAM-SHA-256 PLAIN", login: user,
			script: []smtptest.Cue{refuse("SCRAM", "535 no"), refuse("PLAIN", "504 no")}, level: mx.TLSEncrypt, said: "SCRAM-SHA-256 PLAIN PLAIN", fails: true, code: 535},
		{name: "one that does not work for the moment", offered: "CRAM-MD5 PLAIN", login: user,
			script: []smtptest.Cue{refuse("", "454 later")}, said: "CRAM-MD5", fails: true, code: 454},
		{name: "a host whose certificate nobody has checked is not given the password", offered: "CRAM-MD5 PLAIN", login: user, level: mx.TLSEncrypt, said: "CRAM-MD5"},
		{name: "one whose certificate was checked is", offered: "CRAM-MD5 PLAIN", login: user, level: mx.TLSVerify, said: "PLAIN"},
		{name: "a certificate", offered: "EXTERNAL PLAIN", login: smarthost.Login{User: "user", Certificate: &own}, level: mx.TLSEncrypt, said: "EXTERNAL"},
		{name: "a reply too many ends it", offered: "CRAM-MD5 PLAIN", login: user,
			script: []smtptest.Cue{refuse("CRAM-MD5", "504 no\r\n504 no")}, said: "CRAM-MD5", fails: true, code: 504},
		{name: "a password is no token", offered: "OAUTHBEARER XOAUTH2 EXTERNAL PLAIN", login: user, said: "PLAIN"},
		{name: "a password is no token, nor a certificate", offered: "OAUTHBEARER XOAUTH2 EXTERNAL", login: user, fails: true},
		{name: "a token", offered: "OAUTHBEARER XOAUTH2 PLAIN", login: user, tokens: []string{"secret", "b"}, said: "OAUTHBEARER", asked: "-"},
		{name: "a token by another mechanism", offered: "OAUTHBEARER XOAUTH2", login: user, tokens: []string{"secret", "b"},
			script: []smtptest.Cue{refuse("OAUTHBEARER", "504 no")}, said: "OAUTHBEARER OAUTHBEARER XOAUTH2", asked: "-",
			lacks: smtp.OptOAuthBearer | smtp.OptInitial},
		{name: "a token that is refused, and the next", offered: "XOAUTH2", login: user, tokens: []string{"a", "secret", "c"}, said: "XOAUTH2 XOAUTH2", asked: "- a"},
		{name: "a token that is refused, and no other", offered: "XOAUTH2", login: user, tokens: []string{"a"}, said: "XOAUTH2", asked: "- a", fails: true, code: 535},
		{name: "a token that is refused, and the same again", offered: "XOAUTH2", login: user, tokens: []string{"a", "a"}, said: "XOAUTH2", asked: "- a", fails: true, code: 535},
		{name: "a token that is refused for the moment", offered: "XOAUTH2", login: user, tokens: []string{"a", "b"},
			script: []smtptest.Cue{refuse("", "454 later")}, said: "XOAUTH2", asked: "-", fails: true, code: 454},
		{name: "a token that is refused, with a reply too many", offered: "XOAUTH2", login: user, tokens: []string{"a", "b"},
			script: []smtptest.Cue{refuse("", "535 no\r\n535 no")}, said: "XOAUTH2", asked: "-", fails: true, code: 535},
		{name: "no token", offered: "XOAUTH2", login: user, tokens: []string{}, asked: "-", fails: true},
		{name: "a user name that the mechanism cannot say", offered: "SCRAM-SHA-256 PLAIN",
			login: smarthost.Login{User: "us\u0007er", Password: "secret"}, said: "PLAIN", fails: true, code: 535},
	} {
		t.Run("EXT-20 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{
					Extensions: []string{"AUTH " + c.offered}, Script: c.script, Users: map[string]string{"user": "secret"},
					Allow: []smtptest.Rule{smtptest.RuleAuthClear, smtptest.RuleNoQuit},
				}
				policy := &Policy{Level: mx.TLSNone, ServerName: "mx.e.test"}
				if c.level != mx.TLSDefault {
					host.Name, host.Extensions, host.Authority, policy.Level = "mx.e.test", append(host.Extensions, "STARTTLS"), ca, c.level
				}
				net := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": host}}
				defer net.Close()
				p := &Pool{Config: Config{Hello: "from.test", Dial: net.DialContext, TLSConfig: ca.ClientConfig()}}
				defer p.Close()
				login, source := c.login, &tokens{list: c.tokens}
				if c.tokens != nil {
					login.Token, login.Password = source, ""
				}
				h := &Hop{Host: &mx.Host{Name: "mx.e.test", Login: &login}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: policy}
				s, err := p.Fresh(t.Context(), h, silent{})
				if err == nil {
					p.Keep(s)
				}
				if (err != nil) != c.fails || codeOf(err) != c.code {
					t.Errorf("%v, want it to fail: %t, by a reply: %d", err, c.fails, c.code)
				}
				if e, ok := errors.AsType[*smtp.Error](err); ok && c.kind != 0 && (e.Kind != c.kind || e.Doubt.Now != c.doubt) {
					t.Errorf("%v, %v is in doubt; want %v, %v", e.Kind, e.Doubt.Now, c.kind, c.doubt)
				}
				if lacks := p.Memory.lacks[h.Addr]; len(p.Memory.lacks) > 0 != (c.lacks != 0) || lacks.known != c.lacks {
					t.Errorf("the host lacks %v, want %v", lacks.known, c.lacks)
				}
				synctest.Wait()
				var said []string
				for _, line := range host.Commands() {
					if rest, ok := strings.CutPrefix(line, "AUTH "); ok {
						said = append(said, strings.Fields(rest)[0])
					}
				}
				asked := slices.Clone(source.asked)
				if len(asked) > 0 && asked[0] == "" {
					asked[0] = "-"
				}
				if strings.Join(said, " ") != c.said || strings.Join(asked, " ") != c.asked {
					t.Errorf("said %q, asked for tokens in the place of %q; want %q, %q", said, asked, c.said, c.asked)
				}
				time.Sleep(time.Second)
			})
		})
	}
}
