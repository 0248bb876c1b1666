package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// TestToldOfEachConnectionOnce: a source of policies is told once of each connection, and of
// what it came to, wherever the host breaks it and whether TLS was resumed. It is not told
// of one that a ticket may have broken, after which there is another.
func TestToldOfEachConnectionOnce(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	second := func(at smtptest.Stage, then smtptest.Then) []smtptest.Cue {
		return []smtptest.Cue{{At: at, Conn: 2, Then: then}}
	}
	for _, c := range []struct {
		name     string
		implicit bool
		version  uint16
		mind     bool // the host refuses the client at its last word in the second handshake
		clear    bool // STARTTLS is not offered
		leave    bool // TLS is left out
		refuse   bool // the source refuses what it is shown
		cancel   bool // the caller gives up
		script   []smtptest.Cue
		want     string // of a whole handshake
		resumed  string // if it was to be resumed; "" is the same
	}{
		{name: "nothing", version: tls.VersionTLS13, want: "tls"},
		{name: "nothing", version: tls.VersionTLS12, want: "tls"},
		{name: "nothing", implicit: true, version: tls.VersionTLS13, want: "tls"},
		{name: "STARTTLS, which is not offered", clear: true, version: tls.VersionTLS13, want: "clear"},
		{name: "STARTTLS, which is left out", leave: true, version: tls.VersionTLS13, want: "broken"},
		{name: "STARTTLS, which is refused for now", version: tls.VersionTLS13, script: []smtptest.Cue{{At: smtptest.StartTLS, Conn: 2, Reply: "454 later"}}, want: "broken"},
		{name: "the handshake, at once", version: tls.VersionTLS13, script: second(smtptest.Handshake, smtptest.Close), want: "broken", resumed: "tls"},
		{name: "the handshake, at its end", version: tls.VersionTLS12, mind: true, want: "broken", resumed: "tls"},
		{name: "the handshake, at its end", version: tls.VersionTLS13, mind: true, want: "broken", resumed: "tls"},
		{name: "the handshake, at its end", implicit: true, version: tls.VersionTLS12, mind: true, want: "broken", resumed: "tls"},
		{name: "the handshake, at its end", implicit: true, version: tls.VersionTLS13, mind: true, want: "broken", resumed: "tls"},
		{name: "the connection, before it says anything inside TLS", version: tls.VersionTLS13, script: second(smtptest.HelloTLS, smtptest.Reset), want: "broken", resumed: "tls"},
		{name: "the connection, before it greets inside TLS", implicit: true, version: tls.VersionTLS13, script: second(smtptest.Banner, smtptest.Close), want: "broken", resumed: "tls"},
		{name: "the dialogue inside TLS, by silence", version: tls.VersionTLS13, script: []smtptest.Cue{{At: smtptest.HelloTLS, Conn: 2, Delay: time.Hour}}, want: "tls"},
		{name: "nothing, and the caller gives up", cancel: true, version: tls.VersionTLS13, script: []smtptest.Cue{{At: smtptest.HelloTLS, Conn: 2, Delay: time.Hour}}, want: "tls"},
		{name: "nothing, and the caller gives up", cancel: true, implicit: true, version: tls.VersionTLS13, script: []smtptest.Cue{{At: smtptest.Banner, Conn: 2, Delay: time.Hour}}, want: "tls"},
		{name: "the dialogue inside TLS, by 421", version: tls.VersionTLS13, script: []smtptest.Cue{{At: smtptest.HelloTLS, Conn: 2, Reply: "421 later"}}, want: "tls"},
		{name: "the dialogue inside TLS, by 554 in place of a greeting", implicit: true, version: tls.VersionTLS13, script: []smtptest.Cue{{At: smtptest.Banner, Conn: 2, Reply: "554 no"}}, want: "tls"},
		{name: "nothing, and the source refuses it", refuse: true, version: tls.VersionTLS13, want: "tls"},
		{name: "nothing, and the source refuses it", refuse: true, version: tls.VersionTLS12, want: "tls"},
		{name: "nothing, and the source refuses it", refuse: true, implicit: true, version: tls.VersionTLS13, want: "tls"},
	} {
		for _, whole := range []bool{true, false} {
			t.Run(fmt.Sprintf("TLS-43 the host breaks %s, %s, implicit %t, whole %t", c.name, tls.VersionName(c.version), c.implicit, whole), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					net, p := resuming(t, ca)
					defer net.Close()
					defer p.Close()
					host := net.Servers["192.0.2.1"].(*smtptest.Host)
					host.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
					host.ImplicitTLS, host.Script, host.TLS.MaxVersion = c.implicit, c.script, c.version
					if c.implicit {
						host.Extensions = nil
					}
					if whole && c.name == "the handshake, at once" { // and once more, in the form of older clients
						host.Script = append(slices.Clip(host.Script), smtptest.Cue{At: smtptest.Handshake, Conn: 3, Then: smtptest.Close})
					}
					made := 0
					host.TLS.VerifyConnection = func(s tls.ConnectionState) error {
						if made++; made == 2 && c.mind {
							return refused
						}
						return nil
					}
					var told []string
					refuse := false
					policy := func() *Policy {
						return &Policy{Level: mx.TLSMay, ServerName: "mx.e.test", Judge: func(h *Handshake) Judgement {
							what := "clear"
							switch {
							case h.State != nil:
								what = "tls"
							case h.Offered:
								what = "broken"
							}
							if refuse {
								return Judgement{Err: refused, Decision: what}
							}
							return Judgement{Decision: what}
						}}
					}
					hop := func() *Hop {
						h := &Hop{Host: &mx.Host{Name: "mx.e.test", ImplicitTLS: c.implicit}, Addr: netip.MustParseAddrPort("192.0.2.1:25"), Policy: policy()}
						if c.implicit {
							h.Policy.Level = mx.TLSEncrypt
						}
						return h
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					connect := func(h *Hop) error {
						o := &witness{}
						s, err := p.Fresh(ctx, h, o)
						if err == nil {
							p.Keep(s)
						}
						told = nil
						for _, line := range o.told {
							if what, is := strings.CutPrefix(line, "decided "); is {
								told = append(told, what)
							}
						}
						return err
					}
					if err := connect(hop()); err != nil || len(told) != 1 {
						t.Fatalf("the first connection: %v, told %q", err, told)
					}
					if whole {
						host.TLS.SetSessionTicketKeys([][32]byte{{2}})
						p.tickets = tickets{}
					}
					h := hop()
					if refuse = c.refuse; c.leave {
						h.Without = smtp.OptTLS
					}
					if c.clear {
						host.Extensions = nil
					}
					if c.cancel {
						time.AfterFunc(time.Second, cancel)
					}
					err := connect(h)
					want := c.want
					if !whole && c.resumed != "" {
						want = c.resumed
						if err != nil {
							t.Errorf("it fails: %v", err)
						}
					}
					if len(told) != 1 || told[0] != want {
						t.Errorf("told of %q, want %s; the error is %v", told, want, err)
					}
					if refuse && !errors.Is(err, refused) {
						t.Errorf("%v, want the refusal", err)
					}
				})
			})
		}
	}
}
