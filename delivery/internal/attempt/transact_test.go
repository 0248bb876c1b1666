package attempt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// offers is a host with further extensions.
func offers(extensions string, cues ...smtptest.Cue) *smtptest.Host {
	h := host(cues...)
	h.Extensions = append(h.Extensions, strings.Fields(extensions)...)
	return h
}

// TestManyTransactions is what goes on where one transaction is not enough.
func TestManyTransactions(t *testing.T) {
	type hosts = []*smtptest.Host
	later := func(user string) smtptest.Cue {
		return smtptest.Cue{At: smtptest.Rcpt, Address: user + "@e.test", Reply: "450 4.2.1 later"}
	}
	capped := func(n int) *smtptest.Host {
		h := host()
		h.MaxRecipients = n
		return h
	}
	took := func(user, by string) string {
		return fmt.Sprintf("%s delivered by mx%s; mx%s@%s taken, settled", user, by, by, by)
	}
	tour(t, "a host that says enough", hosts{capped(1)}, func(tr *trip) {
		tr.want("u v w", took("u", "1"), took("v", "1"), took("w", "1"))
	})
	tour(t, "and what another said of them does not count", hosts{host(later("u"), later("v"), later("w")), capped(1)}, func(tr *trip) {
		deferred := func(user string) string {
			return user + " delivered by mx2; mx1@1 not now 4.2.1, next host; mx2@2 taken, settled"
		}
		tr.want("u v w", deferred("u"), deferred("v"), deferred("w"))
	})
	tour(t, "MAIL refused once is refused for all", hosts{limited(1, 0, smtptest.Cue{At: smtptest.Mail, Reply: "550 5.7.1 no"})}, func(tr *trip) {
		tr.want("u v", "u failed by mx1 5.7.1; mx1@1 refused 5.7.1, settled", "v failed by mx1 5.7.1; mx1@1 refused 5.7.1, settled")
		tr.wantDials(1)
	})
	tour(t, "content refused once is refused for all", hosts{limited(1, 0, smtptest.Cue{At: smtptest.Final, Reply: "554 5.6.0 no"})}, func(tr *trip) {
		tr.want("u v", "u failed by mx1 5.6.0; mx1@1 refused 5.6.0, settled", "v failed by mx1 5.6.0; mx1@1 refused 5.6.0, settled")
		tr.wantDials(1)
	})
	tour(t, "not where it was taken in the last transaction but one", hosts{limited(1, 0, later("v"), smtptest.Cue{At: smtptest.Final, Nth: 2, Reply: "554 5.6.0 no"})}, func(tr *trip) {
		tr.want("u v w x", took("u", "1"), "v deferred by mx1 4.2.1; mx1@1 not now 4.2.1, no host left", "w failed by mx1 5.6.0; mx1@1 refused 5.6.0, settled", took("x", "1"))
	})
	tour(t, "a session that is lost is lost for all, and a refusal before that is not theirs", hosts{
		limited(2, 0, smtptest.Cue{At: smtptest.Rcpt, Address: "v@e.test", Reply: "550 5.1.1 who"}, smtptest.Cue{At: smtptest.Data, Then: smtptest.Close}), host(),
	}, func(tr *trip) {
		lost := " delivered by mx2; mx1@1 not now 4.4.2 doubts PIPELINING, next address; mx2@2 taken, settled"
		tr.want("u v w", "u"+lost, "v failed by mx1 5.1.1; mx1@1 refused 5.1.1 doubts PIPELINING, settled", "w"+lost)
		tr.wantDials(1, 2)
	})
	tour(t, "many sessions that each settle somebody do not count", hosts{limited(1, 2, later("v"), later("x"), later("z"))}, func(tr *trip) {
		tr.config.MaxSessions, tr.config.MaxConnections = 2, 2
		not := func(user string) string {
			return user + " deferred by mx1 4.2.1; mx1@1 not now 4.2.1, no host left"
		}
		tr.want("u v w x y z", took("u", "1"), not("v"), took("w", "1"), not("x"), took("y", "1"), not("z"))
		tr.wantDials(1, 1, 1)
	})
	tour(t, "those that settle nobody do", hosts{limited(1, 1, later("u"), later("v"), later("w"))}, func(tr *trip) {
		tr.config.MaxSessions = 2
		tr.want("u v w", "u deferred by mx1 4.2.1; mx1@1 not now 4.2.1, limit", "v deferred by mx1 4.2.1; mx1@1 not now 4.2.1, limit", "w deferred 4.4.0")
		tr.wantDials(1, 1)
	})
	tour(t, "two transactions in a session are one session", hosts{limited(1, 0, later("u"), later("v")), host()}, func(tr *trip) {
		tr.config.MaxSessions = 2
		tr.want("u v", "u delivered by mx2; mx1@1 not now 4.2.1, next host; mx2@2 taken, settled", "v delivered by mx2; mx1@1 not now 4.2.1, next host; mx2@2 taken, settled")
	})
	tour(t, "a session that never reached MAIL is none", hosts{host(), offers("SMTPUTF8 8BITMIME")}, func(tr *trip) {
		tr.config.MaxSessions = 1
		tr.want("é@e.test", "é delivered by mx2; mx1@1 host refuses 5.6.7, next host; mx2@2 taken, settled")
	})
	tour(t, "a kept session that ends does not make room for a connection more", hosts{limited(1, 2, later("v")), nil, nil}, func(tr *trip) {
		tr.config.MaxConnections = 2
		tr.want("t", took("t", "1"))
		tr.want("u v", "u delivered by mx1; mx1@1 again taken, settled",
			"v deferred by mx1 4.2.1; mx1@1 not now 4.2.1, next host; mx2@2 not now 4.4.1, limit")
		tr.wantDials(1, 2)
	})
	for _, c := range []struct {
		name        string
		host        *smtptest.Host
		most        int
		recipients  int
		transaction int
	}{
		{"as many as every host takes", host(), 0, 101, 2},
		{"and no more than that", host(), 200, 101, 2},
		{"as the host states", limited(200, 0), 0, 101, 1},
		{"as the host states, below what is asked for", limited(10, 0), 20, 20, 2},
		{"as is asked for, below what the host states", limited(20, 0), 10, 20, 2},
	} {
		tour(t, c.name, hosts{c.host}, func(tr *trip) {
			tr.opts.Gate = gateOf(c.most)
			m := to()
			for i := range c.recipients {
				m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("u%d@e.test", i)})
			}
			tr.send(tr.t.Context(), m)
			if got := len(c.host.Messages()); got != c.transaction {
				tr.t.Errorf("%d transactions for %d recipients, want %d", got, c.recipients, c.transaction)
			}
		})
	}
}

// TestDoubtedWalk is what a walk does at once about what a host cannot do, and what
// the next one does.
func TestDoubtedWalk(t *testing.T) {
	type hosts = []*smtptest.Host
	tour(t, "TLS-4 TLS that is broken", hosts{offers("STARTTLS", smtptest.Cue{At: smtptest.Handshake, Raw: "\x15\x03\x01\x00\x02\x02\x28", Then: smtptest.Close}), host()}, func(tr *trip) {
		tr.want("u", "u delivered by mx1; mx1@1 not now 4.7.5 doubts STARTTLS, in clear; mx1@1 taken without STARTTLS, settled")
		tr.wantDials(1, 1, 1) // the second one tries TLS in an older form
		tr.want("u", "u delivered by mx1; mx1@1 again taken without STARTTLS, settled")
	})
	tour(t, "TLS-4 at an address that is probed", hosts{offers("STARTTLS", smtptest.Cue{At: smtptest.Handshake, Raw: "\x15\x03\x01\x00\x02\x02\x28", Then: smtptest.Close}), host()}, func(tr *trip) {
		first := tr.net.Servers["192.0.2.1"]
		if err := tr.net.SetServer("192.0.2.1", nil); err != nil {
			tr.t.Fatal(err)
		}
		tr.want("u", "u delivered by mx2; mx1@1 not now 4.4.1, next address; mx2@2 taken, settled")
		if err := tr.net.SetServer("192.0.2.1", first); err != nil {
			tr.t.Fatal(err)
		}
		pass(20 * time.Second)
		tr.want("u", "u delivered by mx1; mx1@1 not now 4.7.5 doubts STARTTLS, in clear; mx1@1 taken without STARTTLS, settled")
	})
	tour(t, "SMTP-25 CHUNKING that is not known after all", hosts{offers("CHUNKING", smtptest.Cue{At: smtptest.Chunk, Reply: "502 5.5.1 what"}), host()}, func(tr *trip) {
		tr.want("u", "u delivered by mx1; mx1@1 not now 4.5.0 doubts CHUNKING, same host; mx1@1 taken without CHUNKING, settled")
		tr.want("u", "u delivered by mx1; mx1@1 again taken without CHUNKING, settled")
	})
	tour(t, "SMTP-25 but who was refused is not offered again", hosts{
		offers("CHUNKING", smtptest.Cue{At: smtptest.Rcpt, Address: "v@e.test", Reply: "550 5.1.1 who"}, smtptest.Cue{At: smtptest.Chunk, Reply: "502 5.5.1 what"}), host(),
	}, func(tr *trip) {
		tr.want("u v", "u delivered by mx2; mx1@1 not now 4.5.0, next address; mx2@2 taken, settled", "v failed by mx1 5.1.1; mx1@1 refused 5.1.1, settled")
		tr.wantDials(1, 2)
	})
	tour(t, "SMTP-25 and who was too many for a transaction is", hosts{offers("CHUNKING", smtptest.Cue{At: smtptest.Chunk, Reply: "502 5.5.1 what"})}, func(tr *trip) {
		tr.net.Servers["192.0.2.1"].(*smtptest.Host).MaxRecipients = 1
		again := " delivered by mx1; mx1@1 not now 4.5.0 doubts CHUNKING, same host; mx1@1 taken without CHUNKING, settled"
		tr.want("u v", "u"+again, "v"+again)
	})
	tour(t, "SMTP-25 a parameter that is not known after all", hosts{offers("SIZE", smtptest.Cue{At: smtptest.Mail, Said: " SIZE=", Reply: "555 5.5.4 what"})}, func(tr *trip) {
		tr.config.Sessions.MaxIdle = -1
		tr.want("u", "u delivered by mx1; mx1@1 taken without SIZE, settled")
		tr.want("u", "u delivered by mx1; mx1@1 taken without SIZE, settled")
		n := 0
		for _, c := range tr.net.Servers["192.0.2.1"].(*smtptest.Host).Commands() {
			if strings.Contains(c, " SIZE=") {
				n++
			}
		}
		if n != 1 {
			tr.t.Errorf("SIZE was said %d times, want once", n)
		}
	})
	tour(t, "a recipient that was taken doubts nothing", hosts{host(smtptest.Cue{At: smtptest.Rcpt, Address: "v@e.test", Reply: "451 4.3.0 hm"})}, func(tr *trip) {
		tr.want("u v", "u delivered by mx1; mx1@1 taken, settled", "v deferred by mx1 4.3.0; mx1@1 not now 4.3.0 doubts PIPELINING, no host left")
	})
	for name, c := range map[string]struct {
		to     string
		commit func() error
	}{
		"a message the host is not fit for": {"é", nil}, "one that may not be committed": {"u", func() error { return errors.New("no") }},
	} {
		tour(t, "SMTP-25 "+name+" does not clear what was left out", hosts{host()}, func(tr *trip) {
			addr := tr.config.Sessions.AddrPort(&tr.route.Hosts[0], addressOf(1))
			memory := &tr.config.Sessions.Memory
			memory.Suspect(addr, smtp.Doubt{Next: smtp.OptNotify}, time.Now())
			tr.opts.Commit = c.commit
			if got := tr.send(tr.t.Context(), to(c.to)); strings.Contains(got, "delivered") {
				tr.t.Errorf("got %s", got)
			}
			if got := memory.Without(addr, time.Now()); got != smtp.OptNotify {
				tr.t.Errorf("without %v, want NOTIFY", got)
			}
		})
	}
	// A kept session: the content goes along with the envelope, and every answer is lost.
	lost := func(again string) *smtptest.Host {
		h := offers("CHUNKING", smtptest.Cue{At: smtptest.Mail, Conn: 1, Nth: 2, Then: smtptest.Close})
		if again != "" {
			h.Script = append(h.Script, smtptest.Cue{At: smtptest.Rcpt, Conn: 2, Address: "u@e.test", Reply: again})
		}
		return h
	}
	tour(t, "SMTP-21 the message may be there, and the host takes it again", hosts{lost(""), host()}, func(tr *trip) {
		tr.want("t", "t delivered by mx1; mx1@1 taken, settled")
		tr.want("u", "u delivered by mx1; mx1@1 taken, settled")
		tr.wantDials(1)
	})
	tour(t, "SMTP-21 it may be there, and nobody else is asked", hosts{lost("450 4.2.1 later"), host()}, func(tr *trip) {
		tr.want("t", "t delivered by mx1; mx1@1 taken, settled")
		tr.want("u v", "u unknown by mx1 4.4.2; mx1@1 not now 4.2.1, next host; mx1@1 again maybe taken 4.4.2, unknown", "v delivered by mx1; mx1@1 taken, settled")
		tr.wantDials(1)
	})
	late := lost("450 4.2.1 later")
	late.Extensions = append(late.Extensions, "LIMITS RCPTMAX=1")
	late.Script = append(late.Script, smtptest.Cue{At: smtptest.Rcpt, Conn: 2, Address: "w@e.test", Reply: "450 4.2.1 later"})
	tour(t, "SMTP-21 nor is anybody for the others", hosts{late, host()}, func(tr *trip) {
		tr.want("t", "t delivered by mx1; mx1@1 taken, settled")
		tr.want("u w", "u unknown by mx1 4.4.2; mx1@1 not now 4.2.1, next host; mx1@1 again maybe taken 4.4.2, unknown", "w deferred by mx1 4.2.1; mx1@1 not now 4.2.1, unknown")
		tr.wantDials(1)
	})
	tour(t, "SMTP-21 nor is it where everybody is concerned", hosts{lost("450 4.2.1 later"), host(), host()}, func(tr *trip) {
		last := mx.Route{Domain: "e.test", Via: mx.ViaFallback, Hosts: tr.route.Hosts[2:]}
		tr.route.Hosts = tr.route.Hosts[:2]
		tr.route.Fallback = func(context.Context) (mx.Route, error) { return last, nil }
		tr.want("t", "t delivered by mx1; mx1@1 taken, settled")
		tr.want("u", "u unknown by mx1 4.4.2; mx1@1 not now 4.2.1, next host; mx1@1 again maybe taken 4.4.2, unknown")
		tr.wantDials(1)
	})
}

// TestTold is which failures a router is told of.
func TestTold(t *testing.T) {
	for _, c := range []struct {
		name string
		host *smtptest.Host
		err  error // of dialling
		want bool
	}{
		{"the host is down", nil, nil, true},
		{"it greets with 421", says(smtptest.Banner, "421 busy"), nil, true},
		{"we have no descriptors", nil, syscall.EMFILE, false},
		{"it takes the message", host(), nil, false},
		{"it refuses the message", says(smtptest.Mail, "550 5.7.1 no"), nil, false},
	} {
		tour(t, c.name, []*smtptest.Host{c.host}, func(tr *trip) {
			var told []string
			tr.config.Unreachable = func(h *mx.Host) { told = append(told, h.Name) }
			if c.err != nil {
				tr.config.Sessions.Dial = failing(c.err)
			}
			tr.send(tr.t.Context(), to("u"))
			if got := slices.Equal(told, []string{"mx1.e.test"}); got != c.want || !c.want && told != nil {
				tr.t.Errorf("told of %v, want it told: %t", told, c.want)
			}
		})
	}
}

// TestRememberedWalk is what the next message knows.
func TestRememberedWalk(t *testing.T) {
	type hosts = []*smtptest.Host
	tour(t, "MX-23 a success is the end of it", hosts{nil, host()}, func(tr *trip) {
		down := "u delivered by mx2; mx1@1 not now 4.4.1, next address; mx2@2 "
		tr.want("u", down+"taken, settled")
		pass(16 * time.Second)
		if err := tr.net.SetServer("192.0.2.1", limited(0, 1)); err != nil {
			tr.t.Fatal(err)
		}
		tr.want("u", "u delivered by mx1; mx1@1 taken, settled")
		if err := tr.net.SetServer("192.0.2.1", nil); err != nil {
			tr.t.Fatal(err)
		}
		tr.want("u", down+"again taken, settled")
		pass(16 * time.Second) // it is its first failure again
		tr.want("u", down+"again taken, settled")
	})
	tour(t, "MX-23 a probe that found nothing is not the last", hosts{nil, host()}, func(tr *trip) {
		tr.want("u", "u delivered by mx2; mx1@1 not now 4.4.1, next address; mx2@2 taken, settled")
		pass(16 * time.Second)
		ctx, cancel := context.WithTimeout(tr.t.Context(), time.Second)
		defer cancel()
		tr.config.Sessions.Dial = failing(nil)
		tr.same(tr.send(ctx, to("u")), "u deferred by mx1 4.4.7; mx1@1 not now 4.4.7, canceled")
		tr.config.Sessions.Dial = tr.dial
		tr.want("u", "u delivered by mx2; mx1@1 not now 4.4.1, next address; mx2@2 again taken, settled")
	})
	tour(t, "MX-23 want of TLS is not remembered", hosts{host(), host()}, func(tr *trip) {
		tr.route.Hosts[0].TLS = mx.TLSEncrypt
		tr.want("u", "u delivered by mx2; mx1@1 not now 4.7.4, next address; mx2@2 taken, settled")
		tr.want("u", "u delivered by mx2; mx1@1 not now 4.7.4, next address; mx2@2 again taken, settled")
	})
	tour(t, "MX-16 the hosts in the order of the application", hosts{host(), host()}, func(tr *trip) {
		tr.opts.Spread = func(hosts []mx.Host) { slices.Reverse(hosts) }
		tr.want("u", "u delivered by mx2; mx2@2 taken, settled")
	})
	tour(t, "QUE-14 once a host was this one nobody goes to the fallback", hosts{{Name: "us.test"}, nil, host()}, func(tr *trip) {
		last := mx.Route{Domain: "e.test", Via: mx.ViaFallback, Hosts: tr.route.Hosts[2:]}
		tr.route.Hosts = tr.route.Hosts[:1]
		tr.route.Hosts[0].Addrs = append(tr.route.Hosts[0].Addrs, addressOf(2))
		tr.route.Fallback = func(context.Context) (mx.Route, error) { return last, nil }
		tr.want("u", "u deferred by mx1 4.4.1; mx1@1 host refuses 5.4.6, next address; mx1@2 not now 4.4.1, no host left")
	})
	tour(t, "QUE-14 nobody goes once the caller has given up", hosts{host(), host()}, func(tr *trip) {
		ctx, cancel := context.WithCancel(tr.t.Context())
		tr.config.Sessions.Policy = func(context.Context, *mx.Route, *mx.Host) (session.Policy, error) {
			cancel()
			return session.Policy{}, ctx.Err()
		}
		tr.route.Hosts = tr.route.Hosts[:1]
		tr.route.Fallback = func(context.Context) (mx.Route, error) {
			tr.t.Error("the fallback was looked up")
			return mx.Route{}, errors.New("none")
		}
		tr.same(tr.send(ctx, to("u")), "u deferred by mx1 4.7.5; mx1 not now 4.7.5, no host left")
	})
	tour(t, "QUE-14 who was refused by every host stays, beside others", hosts{
		host(smtptest.Cue{At: smtptest.Rcpt, Address: "u@e.test", Reply: "450 4.2.1 later"}), offers("SMTPUTF8 8BITMIME"), offers("SMTPUTF8 8BITMIME"),
	}, func(tr *trip) {
		last := mx.Route{Domain: "e.test", Via: mx.ViaFallback, Hosts: tr.route.Hosts[1:]}
		tr.route.Hosts = tr.route.Hosts[:1]
		tr.route.Fallback = func(context.Context) (mx.Route, error) { return last, nil }
		tr.want("u é v", "u delivered by mx2 via fallback; mx1@1 not now 4.2.1, fallback; mx2@2 taken, settled",
			"é failed by mx1 5.6.7; mx1@1 host refuses 5.6.7, no host left", "v delivered by mx1; mx1@1 taken, settled")
		tr.wantDials(1, 2)
	})
	tour(t, "a host that lacks something is not asked at its next address", hosts{host(), host()}, func(tr *trip) {
		tr.route.Hosts = tr.route.Hosts[:1]
		tr.route.Hosts[0].Addrs = append(tr.route.Hosts[0].Addrs, addressOf(2))
		tr.want("é", "é failed by mx1 5.6.7; mx1@1 host refuses 5.6.7, no host left")
		tr.wantDials(1)
	})
	tour(t, "nor one that closes with 421", hosts{says(smtptest.Mail, "421 4.3.2 closing"), host()}, func(tr *trip) {
		tr.route.Hosts = tr.route.Hosts[:1]
		tr.route.Hosts[0].Addrs = append(tr.route.Hosts[0].Addrs, addressOf(2))
		tr.want("u", "u deferred by mx1 4.3.2; mx1@1 not now 4.3.2 doubts PIPELINING, no host left")
		tr.wantDials(1)
	})
	tour(t, "how long it took", hosts{nil, host(smtptest.Cue{At: smtptest.Final, Delay: 3 * time.Second})}, func(tr *trip) {
		if err := tr.net.SetLink("192.0.2.1", smtptest.Link{Fault: smtptest.BlackHole}); err != nil {
			tr.t.Fatal(err)
		}
		job := tr.config.Job(to("u"), new(diary), &Options{})
		defer job.Release()
		job.Accept(t.Context())
		job.Walks()[0].Along(tr.t.Context(), &tr.route)
		for i, want := range []time.Duration{30 * time.Second, 3 * time.Second} {
			if got := job.Results()[0].Attempts[i].Duration.Round(time.Second); got != want {
				tr.t.Errorf("attempt %d took %v, want %v", i, got, want)
			}
		}
	})
}
