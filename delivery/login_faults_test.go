package delivery_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// commandsBeginning are those a host heard that begin with a word.
func commandsBeginning(h *smtptest.Host, word string) []string {
	return slices.DeleteFunc(h.Commands(), func(c string) bool { return !strings.HasPrefix(strings.ToUpper(c), word) })
}

// TestLoginUnprotected is hosts that do not give the TLS a login needs.
func TestLoginUnprotected(t *testing.T) {
	ca := authority(t)
	for name, c := range map[string]struct {
		change func(*smtptest.Host)
		stage  delivery.Stage
	}{
		"EXT-17 a certificate nobody knows":       {func(h *smtptest.Host) { h.Authority = nil }, delivery.StageStartTLS},
		"EXT-17 a certificate for somebody else":  {func(h *smtptest.Host) { h.Name = "other.test" }, delivery.StageStartTLS},
		"EXT-17, TLS-9 a certificate of an alias": {func(h *smtptest.Host) { h.Name = "real.test" }, delivery.StageStartTLS},
		"EXT-17, TLS-11 somebody drops STARTTLS": {func(h *smtptest.Host) {
			h.Extensions = []string{"AUTH PLAIN"}
		}, delivery.StageStartTLS},
		"TLS-11 STARTTLS is refused": {func(h *smtptest.Host) {
			h.Script = []smtptest.Cue{{At: smtptest.StartTLS, Reply: "454 4.7.0 not now"}}
		}, delivery.StageStartTLS},
		"TLS-7 TLS 1.1 only": {func(h *smtptest.Host) {
			h.TLS, _ = ca.ServerConfig("mx1.e.test")
			h.TLS.MinVersion, h.TLS.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
		}, delivery.StageStartTLS},
	} {
		t.Run(name, func(t *testing.T) {
			host := submits(ca, "PLAIN")
			c.change(host)
			bubble(t, "", submissionServers(host), func(t *testing.T, r *rig) {
				lines := r.via(ca, submission(user()))
				report := r.send(t, message("u@e.test"))
				want(t, &report.Recipients[0], queue.Deferred, "mx1.e.test", "")
				if e := report.Recipients[0].Err; e == nil || e.Stage != c.stage || !strings.HasPrefix(e.Enhanced, "4.7.") && e.Code != 454 {
					t.Errorf("%v, want a failure at %v", e, c.stage)
				}
				if said := append(commandsBeginning(host, "AUTH"), commandsBeginning(host, "MAIL")...); len(said) > 0 {
					t.Errorf("the host heard %q", said)
				}
				wantNoSecret(t, report, lines, password)
			})
		})
	}
}

// TestLoginConsent is the levels below verify, which a login must name.
func TestLoginConsent(t *testing.T) {
	ca := authority(t)
	for name, c := range map[string]struct {
		level   mx.TLSLevel
		outcome queue.Outcome
	}{
		"EXT-17 none, by name":                        {mx.TLSNone, queue.Delivered},
		"EXT-17 encrypt, by name":                     {mx.TLSEncrypt, queue.Delivered},
		"EXT-17 may is a mistake, no bounce":          {mx.TLSMay, queue.Deferred},
		"EXT-17, TLS-11 the sender's level is no say": {mx.TLSDefault, queue.Deferred},
	} {
		t.Run(name, func(t *testing.T) {
			host := submits(nil, "PLAIN CRAM-MD5") // of an authority nobody knows
			host.Extensions = append(host.Extensions, "AUTH PLAIN CRAM-MD5")
			bubble(t, "", submissionServers(host), func(t *testing.T, r *rig) {
				hop := submission(user())
				hop.TLS = c.level
				r.via(ca, hop)
				r.sender.TLS = mx.TLSNone
				rr := &r.send(t, message("u@e.test")).Recipients[0]
				want(t, rr, c.outcome, "mx1.e.test", "")
				if c.level == mx.TLSMay && (rr.Err.Enhanced != "4.3.5" || !rr.Err.LoginRefused() || len(host.Connections()) > 0) {
					t.Errorf("%v, %d connections", rr.Err, len(host.Connections()))
				}
				// To whom nobody knows the password itself is not sent where it need not.
				if said := commandsBeginning(host, "AUTH"); c.outcome == queue.Delivered && !slices.Equal(said, []string{"AUTH CRAM-MD5"}) {
					t.Errorf("the host heard %q", said)
				}
			})
		})
	}
}

// TestLoginReplies is what a host says to AUTH and to MAIL of somebody it does not
// know.
func TestLoginReplies(t *testing.T) {
	ca := authority(t)
	at := func(stage smtptest.Stage, reply string) smtptest.Cue { return smtptest.Cue{At: stage, Reply: reply} }
	for name, c := range map[string]struct {
		cue      smtptest.Cue
		enhanced string
		refused  bool
		stage    delivery.Stage
	}{
		"EXT-20 535 is about credentials":  {at(smtptest.Auth, "535 5.7.8 no"), "5.7.8", true, delivery.StageAuth},
		"EXT-20 535 without a status":      {at(smtptest.Auth, "535 no"), "5.7.8", true, delivery.StageAuth},
		"EXT-20 454 is for now":            {at(smtptest.Auth, "454 4.7.0 later"), "4.7.0", false, delivery.StageAuth},
		"EXT-20 432 is for now":            {at(smtptest.Auth, "432 change it"), "4.7.12", false, delivery.StageAuth},
		"EXT-20 534 to all":                {at(smtptest.Auth, "534 too weak"), "5.7.9", true, delivery.StageAuth},
		"EXT-20 550 to AUTH":               {at(smtptest.Auth, "550 5.7.1 go away"), "5.7.1", true, delivery.StageAuth},
		"EXT-20 530 to MAIL":               {at(smtptest.Mail, "530 5.7.0 log in first"), "5.7.0", true, delivery.StageMail},
		"EXT-20 a challenge of no base64":  {at(smtptest.Auth, "334 !!"), "4.7.0", true, delivery.StageAuth},
		"EXT-20 the host hangs up at AUTH": {smtptest.Cue{At: smtptest.Auth, Then: smtptest.Close}, "4.4.2", false, delivery.StageAuth},
	} {
		t.Run(name, func(t *testing.T) {
			host := submits(ca, "PLAIN", c.cue)
			bubble(t, "", submissionServers(host), func(t *testing.T, r *rig) {
				lines := r.via(ca, submission(user()))
				report := r.send(t, message("u@e.test"))
				rr := &report.Recipients[0]
				want(t, rr, queue.Deferred, "mx1.e.test", c.enhanced)
				if rr.Err.LoginRefused() != c.refused || rr.Err.Stage != c.stage || !rr.Err.Temporary() {
					t.Errorf("login refused: %t at %v, want %t at %v: %v", rr.Err.LoginRefused(), rr.Err.Stage, c.refused, c.stage, rr.Err)
				}
				wantNoSecret(t, report, lines, password)
			})
		})
	}
}

// TestMechanismChoice is which mechanism is used where several are offered.
func TestMechanismChoice(t *testing.T) {
	ca := authority(t)
	refuse := func(reply string) []smtptest.Cue { return []smtptest.Cue{{At: smtptest.Auth, Nth: 1, Reply: reply}} }
	forced := user()
	forced.Mechanism = "login"
	for name, c := range map[string]struct {
		clear, inside string
		login         *smarthost.Login
		script        []smtptest.Cue
		want          []string
	}{
		"EXT-18 the newest EHLO counts":     {"CRAM-MD5", "PLAIN", user(), nil, []string{"PLAIN"}},
		"EXT-18 SCRAM before PLAIN":         {"", "PLAIN LOGIN SCRAM-SHA-256 CRAM-MD5", user(), nil, []string{"SCRAM-SHA-256"}},
		"EXT-18 -PLUS before SCRAM":         {"", "PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS", user(), nil, []string{"SCRAM-SHA-256-PLUS"}},
		"EXT-18 PLAIN before CRAM-MD5":      {"", "CRAM-MD5 LOGIN PLAIN", user(), nil, []string{"PLAIN"}},
		"EXT-18 the one the login wants":    {"", "PLAIN LOGIN SCRAM-SHA-256", forced, nil, []string{"LOGIN"}},
		"EXT-20 534 leads to the next":      {"", "PLAIN LOGIN", user(), refuse("534 5.7.9 no"), []string{"PLAIN", "LOGIN"}},
		"EXT-20 535 does not":               {"", "PLAIN LOGIN", user(), refuse("535 5.7.8 no"), []string{"PLAIN"}},
		"EXT-18 none that the login serves": {"", "GSSAPI NTLM", user(), nil, nil},
		"EXT-18 not the one it wants":       {"", "PLAIN SCRAM-SHA-256", forced, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			host := submits(ca, c.inside, c.script...)
			if c.clear != "" {
				host.Extensions = append(host.Extensions, "AUTH "+c.clear)
			}
			bubble(t, "", submissionServers(host), func(t *testing.T, r *rig) {
				r.via(ca, submission(c.login))
				rr := &r.send(t, message("u@e.test")).Recipients[0]
				var used []string
				for _, line := range commandsBeginning(host, "AUTH ") {
					used = append(used, strings.Fields(line)[1])
				}
				if !slices.Equal(used, c.want) {
					t.Errorf("used %q, want %q", used, c.want)
				}
				if c.want == nil && (rr.Outcome != queue.Deferred || rr.Err.Stage != delivery.StageAuth || !rr.Err.LoginRefused() || rr.Err.Enhanced != "4.7.0") {
					t.Errorf("%v, %v", rr.Outcome, rr.Err)
				}
			})
		})
	}
}

// TestTokens is a token source whose first token has expired.
func TestTokens(t *testing.T) {
	ca := authority(t)
	for _, mechanism := range []string{"XOAUTH2", "OAUTHBEARER"} {
		for name, c := range map[string]struct {
			source  tokens
			outcome queue.Outcome
			refused []string
		}{
			"a refused one is replaced once":    {tokens{list: []string{"expired", password}}, queue.Delivered, []string{"", "expired"}},
			"the same again is not sent":        {tokens{list: []string{"expired"}}, queue.Deferred, []string{"", "expired"}},
			"no third one is asked for":         {tokens{list: []string{"expired", "stale", password}}, queue.Deferred, []string{"", "expired"}},
			"a source that fails is a deferral": {tokens{err: errors.New("the identity provider is down")}, queue.Deferred, []string{""}},
		} {
			t.Run("EXT-20 "+mechanism+": "+name, func(t *testing.T) {
				host := submits(ca, mechanism)
				bubble(t, "", submissionServers(host), func(t *testing.T, r *rig) {
					source := c.source
					lines := r.via(ca, submission(&smarthost.Login{User: "user", Token: &source}))
					report := r.send(t, message("u@e.test"))
					want(t, &report.Recipients[0], c.outcome, "mx1.e.test", "")
					if !slices.Equal(source.refused, c.refused) {
						t.Errorf("asked for tokens in the place of %q, want %q", source.refused, c.refused)
					}
					if e := report.Recipients[0].Err; e != nil && e.LoginRefused() == (c.source.err != nil) {
						t.Errorf("login refused: %t, %v", e.LoginRefused(), e)
					}
					wantNoSecret(t, report, lines, password, "expired")
				})
			})
		}
	}
}

// TestScramServer is servers that do not know the password, and one in the middle
// that has a good certificate.
func TestScramServer(t *testing.T) {
	ca := authority(t)
	liar := base64.StdEncoding.EncodeToString([]byte("v=" + base64.StdEncoding.EncodeToString(make([]byte, 32))))
	greedy := base64.StdEncoding.EncodeToString([]byte("r=x,s=c2FsdA==,i=2000000000"))
	for name, cue := range map[string]smtptest.Cue{
		"a wrong signature":          {At: smtptest.AuthReply, Reply: "334 " + liar},
		"success without signature":  {At: smtptest.AuthReply, Reply: "235 2.7.0 welcome"},
		"success at once":            {At: smtptest.Auth, Reply: "235 2.7.0 welcome"},
		"more iterations than sense": {At: smtptest.Auth, Reply: "334 " + greedy},
	} {
		t.Run("EXT-18 SCRAM holds the server to its proof: "+name, func(t *testing.T) {
			host := submits(ca, "SCRAM-SHA-256", cue)
			bubble(t, "", submissionServers(host), func(t *testing.T, r *rig) {
				r.via(ca, submission(user()))
				checkLogin(t, r, r.send(t, message("u@e.test")), host, false)
			})
		})
	}
	for name, strip := range map[string]bool{"relays": false, "leaves out -PLUS": true} {
		t.Run("EXT-18 -PLUS is of no use to a server in the middle that "+name, func(t *testing.T) {
			host := submits(ca, "SCRAM-SHA-256 SCRAM-SHA-256-PLUS")
			host.ImplicitTLS = true
			middle := &inTheMiddle{ca: ca, host: host, strip: strip}
			bubble(t, "", map[string]smtptest.Server{"192.0.2.1:465": middle}, func(t *testing.T, r *rig) {
				hop := submission(user())
				hop.ImplicitTLS, hop.Port = true, 465
				r.via(ca, hop)
				checkLogin(t, r, r.send(t, message("u@e.test")), host, false)
				if len(commandsBeginning(host, "AUTH SCRAM")) != 1 || len(commandsBeginning(host, "MAIL")) > 0 {
					t.Errorf("the host heard %q", host.Commands())
				}
			})
		})
	}
}

// inTheMiddle is a server with a certificate for the host's name, which passes on
// what it hears.
type inTheMiddle struct {
	ca    *smtptest.Authority
	host  *smtptest.Host
	strip bool
}

func (m *inTheMiddle) Serve(ctx context.Context, conn net.Conn) {
	config, err := m.ca.ServerConfig("mx1.e.test")
	if err != nil {
		panic(err)
	}
	near, far := smtptest.Pipe()
	outer, inner := tls.Server(conn, config), tls.Client(near, &tls.Config{InsecureSkipVerify: true})
	var wg sync.WaitGroup
	wg.Go(func() { m.host.Serve(ctx, far) })
	wg.Go(func() { io.Copy(inner, outer); inner.Close() })
	buf := make([]byte, 4096)
	for {
		n, err := inner.Read(buf)
		said := buf[:n]
		if m.strip {
			said = bytes.ReplaceAll(said, []byte(" SCRAM-SHA-256-PLUS"), nil)
		}
		outer.Write(said)
		if err != nil {
			break
		}
	}
	outer.Close()
	wg.Wait()
}
