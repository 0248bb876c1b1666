package attempt

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/queue"
)

// begin takes a message along the route beside others, and sends what became of it.
func (tr *trip) begin(m *queue.Message) <-chan string {
	done := make(chan string, 1)
	go func() {
		job := tr.config.Job(m, new(diary), &tr.opts)
		defer job.Release()
		route := tr.route
		if job.Accept(context.Background()) == nil {
			job.Walks()[0].Along(context.Background(), &route)
		}
		done <- show(job.Results())
	}()
	return done
}

// TestProbedByOne: while somebody finds out how an address is, nobody else does,
// however many come meanwhile.
func TestProbedByOne(t *testing.T) {
	tour(t, "MX-23", []*smtptest.Host{nil, host()}, func(tr *trip) {
		tr.want("u", "u delivered by mx2; mx1@1 not now 4.4.1, next address; mx2@2 taken, settled")
		pass(16 * time.Second)
		dials := 0
		tr.config.Sessions.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if !strings.HasPrefix(address, "192.0.2.1:") {
				return tr.net.DialContext(ctx, network, address)
			}
			dials++
			pass(10 * time.Second)
			return tr.net.DialContext(ctx, network, address)
		}
		first := tr.begin(to("u"))
		pass(time.Second)
		for range 2 {
			tr.want("u", "u delivered by mx2; mx1@1 not now 4.4.1 remembered, next address; mx2@2 again taken, settled")
		}
		tr.same(<-first, "u delivered by mx2; mx1@1 not now 4.4.1, next address; mx2@2 again taken, settled")
		if dials != 1 {
			tr.t.Errorf("%d connections were tried, want 1", dials)
		}
	})
	tour(t, "MX-23 the right to one address is none to the next", []*smtptest.Host{nil, nil, host()}, func(tr *trip) {
		tr.want("u", "u delivered by mx3; mx1@1 not now 4.4.1, next address; mx2@2 not now 4.4.1, next address; mx3@3 taken, settled")
		pass(16 * time.Second)
		second := tr.config.Sessions.AddrPort(&tr.route.Hosts[1], addressOf(2))
		tr.config.Sessions.Memory.Fail(second, &Failure{Enhanced: "4.4.1"}, time.Now())
		tr.want("u", "u delivered by mx3; mx1@1 not now 4.4.1, next address; mx2@2 not now 4.4.1 remembered, next address; mx3@3 again taken, settled")
		tr.wantDials(1)
	})
}

// TestStaleOnlyOnce: where a kept session has gone stale a new one is made, and no
// other that was kept is tried.
func TestStaleOnlyOnce(t *testing.T) {
	h := host(smtptest.Cue{At: smtptest.Final, Nth: 1, Delay: time.Second},
		smtptest.Cue{At: smtptest.Mail, Conn: 1, Nth: 2, Then: smtptest.Close}, smtptest.Cue{At: smtptest.Mail, Conn: 2, Nth: 2, Then: smtptest.Close})
	tour(t, "SMTP-42", []*smtptest.Host{h}, func(tr *trip) {
		first, second := tr.begin(to("u")), tr.begin(to("v"))
		<-first
		<-second
		tr.want("w", "w delivered by mx1; mx1@1 taken, settled")
		mails := 0
		for _, c := range h.Commands() {
			if strings.HasPrefix(c, "MAIL ") {
				mails++
			}
		}
		if mails != 4 {
			tr.t.Errorf("MAIL was said %d times, want 4", mails)
		}
	})
}

// TestHandedOver: a session that a walk was given while it waited for a connection is
// none of its connections.
func TestHandedOver(t *testing.T) {
	h := host(smtptest.Cue{At: smtptest.Final, Nth: 1, Delay: 2 * time.Second}, smtptest.Cue{At: smtptest.Rcpt, Address: "v@e.test", Reply: "450 4.2.1 later"})
	tour(t, "QUE-13", []*smtptest.Host{h, nil, nil}, func(tr *trip) {
		tr.config.MaxConnections = 2
		tr.opts.Gate, tr.opts.Site = session.NewGate(func() session.Limits {
			return session.Limits{Connections: 9, PerSite: 9, PerHost: 1, PerAddress: 9, ConnectionLife: time.Hour}
		}), "site"
		first := tr.begin(to("u"))
		pass(time.Second)
		tr.same(<-tr.begin(to("v")), "v deferred by mx1 4.2.1; mx1@1 again not now 4.2.1, next host; mx2@2 not now 4.4.1, next address; mx3@3 not now 4.4.1, no host left")
		tr.same(<-first, "u delivered by mx1; mx1@1 taken, settled")
	})
}

// TestSessionsThatDoNotCount is the bounds of a walk where sessions settle somebody
// before they end.
func TestSessionsThatDoNotCount(t *testing.T) {
	later := func(user string) smtptest.Cue {
		return smtptest.Cue{At: smtptest.Rcpt, Address: user + "@e.test", Reply: "450 4.2.1 later"}
	}
	tour(t, "with its first transaction of three", []*smtptest.Host{limited(1, 3, later("v"), later("w"))}, func(tr *trip) {
		tr.config.MaxSessions = 1
		tr.want("u v w x", "u delivered by mx1; mx1@1 taken, settled", "v deferred by mx1 4.2.1; mx1@1 not now 4.2.1, no host left",
			"w deferred by mx1 4.2.1; mx1@1 not now 4.2.1, no host left", "x delivered by mx1; mx1@1 taken, settled")
		tr.wantDials(1, 1)
	})
	refuses := offers("CHUNKING", smtptest.Cue{At: smtptest.Chunk, Reply: "502 5.5.1 what"})
	tour(t, "one that shows what the host cannot do", []*smtptest.Host{refuses}, func(tr *trip) {
		tr.config.MaxSessions = 1
		tr.want("u", "u delivered by mx1; mx1@1 not now 4.5.0 doubts CHUNKING, same host; mx1@1 taken without CHUNKING, settled")
	})
	h := limited(1, 0, smtptest.Cue{At: smtptest.Final, Conn: 1, Nth: 2, Reply: "502 5.5.1 what"})
	h.Extensions = append(h.Extensions, "CHUNKING")
	tour(t, "before it shows what the host cannot do", []*smtptest.Host{h}, func(tr *trip) {
		tr.config.MaxSessions = 1
		tr.want("u v", "u delivered by mx1; mx1@1 taken, settled", "v delivered by mx1; mx1@1 not now 4.5.0 doubts CHUNKING, same host; mx1@1 taken without CHUNKING, settled")
	})
	tour(t, "what was left out of a session that did not come about", []*smtptest.Host{says(smtptest.Banner, "421 busy")}, func(tr *trip) {
		tr.config.Sessions.Memory.Lacks(tr.config.Sessions.AddrPort(&tr.route.Hosts[0], addressOf(1)), smtp.OptSize, time.Now())
		tr.want("u", "u deferred by mx1 4.3.2; mx1@1 not now 4.3.2 without SIZE, no host left")
	})
}

// TestJoin: recipients of one walk that another takes over are offered once.
func TestJoin(t *testing.T) {
	tour(t, "QUE-13", []*smtptest.Host{host()}, func(tr *trip) {
		job := tr.config.Job(to("u", "v@f.test", "w"), new(diary), &Options{})
		defer job.Release()
		if job.Accept(t.Context()) != nil || len(job.Walks()) != 2 {
			tr.t.Fatalf("%d walks", len(job.Walks()))
		}
		job.Walks()[0].Join(&job.Walks()[1])
		for i := range job.Walks() {
			job.Walks()[i].Along(tr.t.Context(), &tr.route)
		}
		list := tr.net.Servers["192.0.2.1"].(*smtptest.Host).Messages()
		if len(list) != 1 || strings.Join(list[0].To(), " ") != "u@e.test v@f.test w@e.test" {
			tr.t.Errorf("%d messages, the first to %v; want one to all three in their order", len(list), list[0].To())
		}
	})
}
