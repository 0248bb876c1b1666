package attempt

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestParametersOfContent is what MAIL says of content beyond ASCII, and what is sent where
// the host does not take it.
func TestParametersOfContent(t *testing.T) {
	eight := queue.String("Subject: s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\u00e9\r\n")
	header := queue.String("Subject: \u00e9\r\n\r\nbody\r\n")
	offers := func(cues ...smtptest.Cue) *smtptest.Host {
		return &smtptest.Host{Extensions: []string{"8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"}, Script: cues}
	}
	for _, c := range []struct {
		name      string
		host      *smtptest.Host
		content   queue.Content
		utf8      bool
		lacks     smtp.Option
		body      bool // MAIL says BODY=8BITMIME in the end
		declared  bool // and SMTPUTF8
		converted bool
	}{
		{name: "8 bits", host: offers(), content: eight, body: true},
		{name: "8 bits in a header", host: offers(), content: header, body: true},
		{name: "internationalized mail", host: offers(), content: header, utf8: true, body: true, declared: true},
		{name: "internationalized mail that needs nothing", host: offers(), content: eight, utf8: true, body: true},
		{name: "a host that is known not to take 8 bits", host: offers(), content: eight, lacks: smtp.OptBody, converted: true},
		{name: "a host that refuses what it offers", host: offers(smtptest.Cue{At: smtptest.Mail, Said: " BODY=", Reply: "555 5.5.4 not known"}), content: eight, converted: true},
	} {
		tour(t, c.name, []*smtptest.Host{c.host}, func(tr *trip) {
			m := to("u")
			m.Content, m.UTF8 = c.content, c.utf8
			if c.lacks != 0 {
				tr.config.Sessions.Memory.Lacks(tr.config.Sessions.AddrPort(&tr.route.Hosts[0], addressOf(1)), c.lacks, time.Now())
			}
			if got := tr.send(tr.t.Context(), m); !strings.HasPrefix(got, "u delivered") {
				tr.t.Fatal(got)
			}
			mail := ""
			for _, line := range c.host.Commands() {
				if strings.HasPrefix(line, "MAIL") {
					mail = line
				}
			}
			ascii := !strings.ContainsFunc(string(c.host.Messages()[0].Content), func(r rune) bool { return r >= 0x80 })
			if body, declared := strings.Contains(mail, " BODY=8BITMIME"), strings.Contains(mail, " SMTPUTF8"); body != c.body || declared != c.declared || ascii != c.converted {
				tr.t.Errorf("%q, converted: %t", mail, ascii)
			}
		})
	}
}

// TestUnknownByGuarantee: whether a message that may have been taken is sent again depends
// on its guarantee, which the error tells.
func TestUnknownByGuarantee(t *testing.T) {
	for guarantee, want := range map[queue.Guarantee]bool{queue.AtLeastOnce: false, queue.AtMostOnce: true} {
		tour(t, "after the final dot", []*smtptest.Host{drops(smtptest.Final)}, func(tr *trip) {
			m := to("u")
			m.Guarantee = guarantee
			job := tr.config.Job(m, new(diary), &tr.opts)
			defer job.Release()
			if job.Accept(t.Context()) != nil {
				tr.t.Fatal("not accepted")
			}
			job.Walks()[0].Along(tr.t.Context(), &tr.route)
			if r := job.Results()[0]; r.Err == nil || r.Err.Verdict != MaybeTaken || r.Err.AtMostOnce != want {
				tr.t.Errorf("%v: %+v", guarantee, r.Err)
			}
		})
	}
}

// TestHostsNotVouchedFor: a message with REQUIRETLS fails at a host that nothing
// authenticates, and waits if that may change.
func TestHostsNotVouchedFor(t *testing.T) {
	why := errors.New("the policy cannot be fetched")
	for _, c := range []struct {
		unsure error
		want   string
	}{{nil, "u failed 5.7.10; mx1 host refuses 5.7.10, no host left\n"}, {why, "u deferred 4.7.5; mx1 not now 4.7.5, no host left\n"}} {
		tour(t, "vouched for by nobody", []*smtptest.Host{host()}, func(tr *trip) {
			tr.config.Sessions.Policy = func(context.Context, *mx.Route, *mx.Host) (session.Policy, error) {
				return session.Policy{Level: mx.TLSVerify, Unsure: c.unsure}, nil
			}
			m := to("u")
			m.TLS = queue.TLSRequired
			if got := strings.ReplaceAll(tr.send(tr.t.Context(), m), " by mx1", ""); got != c.want {
				tr.t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestRefusalsByASource: what the source of a policy refuses is for later, however the
// connection ended.
func TestRefusalsByASource(t *testing.T) {
	for _, cause := range []error{nil, session.ErrNoTLS, &smtp.Error{Stage: smtp.StageHello, Kind: smtp.Replied, Reply: smtp.Reply{Code: 550}}} {
		e := new(Config).Failure(&session.Hop{Host: &mx.Host{Name: "mx"}}, &session.Refusal{Judgement: session.Judgement{Err: errors.New("no")}, Cause: cause})
		if e.Stage != StageStartTLS || e.Verdict != NotNow || e.Replied() {
			t.Errorf("%v: %+v", cause, e)
		}
	}
}

// TestTimesOfAKeptSession: an attempt on a kept session has none of the times of the
// connections that failed before it.
func TestTimesOfAKeptSession(t *testing.T) {
	one := &smtptest.Host{Extensions: []string{"STARTTLS"}, Allow: []smtptest.Rule{smtptest.RuleNoQuit}, Script: []smtptest.Cue{
		{At: smtptest.Hello, Conn: 3, Delay: 16 * time.Second}, {At: smtptest.Handshake, Then: smtptest.Close},
	}}
	tour(t, "in clear", []*smtptest.Host{one}, func(tr *trip) {
		p, policy := tr.config.Sessions, &session.Policy{Level: mx.TLSMay, ServerName: "mx1.e.test"}
		h := &session.Hop{Host: &tr.route.Hosts[0], Policy: policy, Without: smtp.OptTLS}
		h.Addr = p.AddrPort(h.Host, addressOf(1))
		kept, err := p.Fresh(tr.t.Context(), h, new(diary))
		if err != nil {
			tr.t.Fatal(err)
		}
		p.Keep(kept)
		job := tr.config.Job(to("u"), new(diary), &tr.opts)
		defer job.Release()
		if job.Accept(t.Context()) != nil {
			tr.t.Fatal("not accepted")
		}
		job.Walks()[0].Along(tr.t.Context(), &tr.route)
		list := slices.Clone(job.Results()[0].Attempts)
		if len(list) != 2 || !list[1].Reused || list[1].Stages.Hello != 0 || list[1].Duration > time.Second || list[0].Stages.Hello < 16*time.Second {
			tr.t.Errorf("%+v", list)
		}
	})
}
