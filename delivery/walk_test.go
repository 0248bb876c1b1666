package delivery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// script is a host that does one thing at one stage.
func script(cues ...smtptest.Cue) *smtptest.Host {
	return &smtptest.Host{Extensions: full(), Script: cues}
}

func servers(hosts ...smtptest.Server) map[string]smtptest.Server {
	m := make(map[string]smtptest.Server)
	for i, h := range hosts {
		m[[]string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}[i]] = h
	}
	return m
}

// TestFallThrough is the first host's failure and what the second is for.
func TestFallThrough(t *testing.T) {
	cases := []struct {
		name    string
		cue     smtptest.Cue
		outcome queue.Outcome
		host    string
		second  bool // the second host is contacted
	}{
		{"SMTP-2 greeting 521 goes on", smtptest.Cue{At: smtptest.Banner, Reply: "521 no mail here"}, queue.Delivered, "mx2.e.test", true},
		{"SMTP-2, MX-22 greeting 421 goes on", smtptest.Cue{At: smtptest.Banner, Reply: "421 busy", Then: smtptest.Close}, queue.Delivered, "mx2.e.test", true},
		{"MX-22 a drop at the greeting goes on", smtptest.Cue{At: smtptest.Banner, Then: smtptest.Close}, queue.Delivered, "mx2.e.test", true},
		{"MX-22 EHLO 4yz goes on", smtptest.Cue{At: smtptest.Hello, Reply: "450 later"}, queue.Delivered, "mx2.e.test", true},
		{"MX-22 MAIL 4yz goes on", smtptest.Cue{At: smtptest.Mail, Reply: "451 4.3.0 later"}, queue.Delivered, "mx2.e.test", true},
		{"MX-22, SMTP-22 MAIL 5yz is final", smtptest.Cue{At: smtptest.Mail, Reply: "550 5.7.1 no"}, queue.Failed, "mx1.e.test", false},
		{"MX-22 RCPT 4yz goes on", smtptest.Cue{At: smtptest.Rcpt, Reply: "450 4.2.0 later"}, queue.Delivered, "mx2.e.test", true},
		{"MX-22 RCPT 5yz is final", smtptest.Cue{At: smtptest.Rcpt, Reply: "550 5.1.1 who"}, queue.Failed, "mx1.e.test", false},
		{"SMTP-23 RCPT 551 is final", smtptest.Cue{At: smtptest.Rcpt, Reply: "551 5.1.6 try elsewhere"}, queue.Failed, "mx1.e.test", false},
		{"SMTP-23 RCPT 251 is success", smtptest.Cue{At: smtptest.Rcpt, Reply: "251 will forward"}, queue.Delivered, "mx1.e.test", false},
		{"SMTP-25 RCPT 556 is final", smtptest.Cue{At: smtptest.Rcpt, Reply: "556 5.1.10 no mail"}, queue.Failed, "mx1.e.test", false},
		{"SMTP-27 final 4yz goes on", smtptest.Cue{At: smtptest.Final, Reply: "451 4.3.0 later"}, queue.Delivered, "mx2.e.test", true},
		{"SMTP-27, MX-22 final 5yz is final", smtptest.Cue{At: smtptest.Final, Reply: "554 5.6.0 no"}, queue.Failed, "mx1.e.test", false},
		{"SMTP-21 a lost final reply is unknown and ends the walk", smtptest.Cue{At: smtptest.Final, Then: smtptest.Close}, queue.Unknown, "mx1.e.test", false},
		{"SMTP-19 421 at RCPT goes on", smtptest.Cue{At: smtptest.Rcpt, Reply: "421 4.3.2 shutting down", Then: smtptest.Close}, queue.Delivered, "mx2.e.test", true},
		{"SMTP-20 a drop at RCPT goes on", smtptest.Cue{At: smtptest.Rcpt, Then: smtptest.Close}, queue.Delivered, "mx2.e.test", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			// Without CHUNKING: with it the content has gone when RCPT is answered.
			first := &smtptest.Host{Extensions: []string{"PIPELINING"}, Script: []smtptest.Cue{c.cue}}
			second := script()
			bubble(t, zone, servers(first, second), func(t *testing.T, r *rig) {
				m := message("u@e.test")
				report := r.send(t, m)
				want(t, &report.Recipients[0], c.outcome, c.host, "")
				if got := len(second.Connections()) > 0; got != c.second {
					t.Errorf("second host contacted: %t, want %t", got, c.second)
				}
				if n := len(second.Messages()); n > 1 || (n == 1) != (c.host == "mx2.e.test") {
					t.Errorf("second host has %d messages", n)
				}
			})
		})
	}
}

// TestAllRefuse is what all hosts together mean.
func TestAllRefuse(t *testing.T) {
	banner := func(reply string) *smtptest.Host {
		return script(smtptest.Cue{At: smtptest.Banner, Reply: reply})
	}
	t.Run("SMTP-2 every host refuses in its greeting: permanent, in its words", func(t *testing.T) {
		bubble(t, zone, servers(banner("554 no"), banner("521 no"), banner("554 nor here")), func(t *testing.T, r *rig) {
			report := r.send(t, message("u@e.test"))
			want(t, &report.Recipients[0], queue.Failed, "mx3.e.test", "5.3.2")
			if got := report.Recipients[0].Reply.Text; got != "nor here" {
				t.Errorf("reply %q", got)
			}
		})
	})
	t.Run("SMTP-2, FAULTS 1: a host's refusal does not outrank another's 'not now'", func(t *testing.T) {
		bubble(t, zone, servers(banner("554 no"), banner("421 later"), banner("554 no")), func(t *testing.T, r *rig) {
			report := r.send(t, message("u@e.test"))
			want(t, &report.Recipients[0], queue.Deferred, "mx2.e.test", "4.3.2")
		})
	})
	t.Run("SMTP-2 a refusal is not final where a limit left hosts unasked", func(t *testing.T) {
		bubble(t, zone, servers(banner("554 no"), banner("554 no"), script()), func(t *testing.T, r *rig) {
			r.sender.MaxConnections = 2
			report := r.send(t, message("u@e.test"))
			want(t, &report.Recipients[0], queue.Deferred, "mx2.e.test", "5.3.2")
			if !report.Recipients[0].Err.Temporary() {
				t.Errorf("%v is permanent", report.Recipients[0].Err)
			}
		})
		var many strings.Builder
		hosts := map[string]smtptest.Server{}
		many.WriteString("$ORIGIN e.test.\n")
		for i := range 20 {
			fmt.Fprintf(&many, "@ MX 10 m%d\nm%d A 192.0.2.%d\n", i, i, i+1)
			hosts[fmt.Sprintf("192.0.2.%d", i+1)] = banner("554 no")
		}
		bubble(t, many.String(), hosts, func(t *testing.T, r *rig) {
			report := r.send(t, message("u@e.test"))
			if got := report.Recipients[0].Outcome; got != queue.Deferred || len(r.dialled()) != 16 {
				t.Errorf("%v after %d hosts of 20, want deferred after 16", got, len(r.dialled()))
			}
		})
	})
	t.Run("SMTP-2 the greeting's class is a knob", func(t *testing.T) {
		bubble(t, zone, servers(banner("554 no"), banner("554 no"), banner("554 no")), func(t *testing.T, r *rig) {
			r.sender.Judge = func(stage delivery.Stage, code int, enhanced string) delivery.Verdict {
				if stage == delivery.StageBanner {
					return delivery.NotNow
				}
				return delivery.Judge(stage, code, enhanced)
			}
			report := r.send(t, message("u@e.test"))
			if got := report.Recipients[0].Outcome; got != queue.Deferred {
				t.Errorf("%v, want deferred", got)
			}
		})
	})
	t.Run("MX-2 the domain's own address is off limits when every MX host fails", func(t *testing.T) {
		own := script()
		bubble(t, zone, map[string]smtptest.Server{"192.0.2.99": own}, func(t *testing.T, r *rig) {
			report := r.send(t, message("u@e.test"))
			if got := report.Recipients[0].Outcome; got != queue.Deferred {
				t.Errorf("%v, want deferred", got)
			}
			if len(own.Connections()) != 0 || slices.Contains(r.dialled(), "192.0.2.99") {
				t.Error("the domain's own address was dialled")
			}
		})
	})
}

// TestOrder is which addresses are dialled, and when.
func TestOrder(t *testing.T) {
	t.Run("MX-15 levels in order, MX-16 equals in any", func(t *testing.T) {
		const levels = "$ORIGIN e.test.\n$TTL 0\n@ MX 65535 c\n@ MX 10 b1\n@ MX 0 a\n@ MX 10 b2\n" +
			"a A 192.0.2.1\nb1 A 192.0.2.2\nb2 A 192.0.2.3\nc A 192.0.2.4\n"
		swapped := 0
		for range 100 {
			bubble(t, levels, nil, func(t *testing.T, r *rig) {
				r.send(t, message("u@e.test"))
				got := r.dialled()
				if len(got) != 4 || got[0] != "192.0.2.1" || got[3] != "192.0.2.4" {
					t.Fatalf("dialled %v", got)
				}
				if got[1] == "192.0.2.3" {
					swapped++
				}
			})
		}
		if swapped < 20 || swapped > 80 {
			t.Errorf("the equals changed places %d times of 100", swapped)
		}
	})
	const many = "$ORIGIN e.test.\n@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 192.0.2.11\nmx1 A 192.0.2.12\n" +
		"mx2 A 192.0.2.21\nmx2 A 192.0.2.22\n"
	t.Run("MX-17, MX-18 every address in order until one succeeds", func(t *testing.T) {
		host := script()
		bubble(t, many, map[string]smtptest.Server{"192.0.2.22": host}, func(t *testing.T, r *rig) {
			report := r.send(t, message("u@e.test"))
			want(t, &report.Recipients[0], queue.Delivered, "mx2.e.test", "")
			if got := r.dialled(); !slices.Equal(got, []string{"192.0.2.11", "192.0.2.12", "192.0.2.21", "192.0.2.22"}) {
				t.Errorf("dialled %v", got)
			}
			if n := len(report.Recipients[0].Attempts); n != 4 {
				t.Errorf("%d attempts in the report, want 4", n)
			}
		})
	})
	t.Run("MX-17 the cap holds, and is never less than two", func(t *testing.T) {
		for limit, want := range map[int]int{1: 2, 3: 3} {
			bubble(t, many, nil, func(t *testing.T, r *rig) {
				r.sender.MaxConnections = limit
				report := r.send(t, message("u@e.test"))
				if got := len(r.dialled()); got != want {
					t.Errorf("cap %d: %d connections, want %d", limit, got, want)
				}
				a := report.Recipients[0].Attempts
				if a[len(a)-1].Next != delivery.StopLimit {
					t.Errorf("the walk ended with %v", a[len(a)-1].Next)
				}
			})
		}
	})
	t.Run("MX-18 no preference among families crosses hosts", func(t *testing.T) {
		const families = "$ORIGIN e.test.\n@ MX 10 six\n@ MX 20 four\nsix AAAA 2001:db8::1\nfour A 192.0.2.1\n"
		bubble(t, families, nil, func(t *testing.T, r *rig) {
			r.sender.Router = delivery.ByMX(&mx.Router{Resolver: r.dns, Order: mx.PreferIPv4})
			r.send(t, message("u@e.test"))
			if got := r.dialled(); !slices.Equal(got, []string{"2001:db8::1", "192.0.2.1"}) {
				t.Errorf("dialled %v", got)
			}
		})
	})
	t.Run("MX-33 the route is asked for again at each attempt", func(t *testing.T) {
		old, fresh := script(smtptest.Cue{At: smtptest.Mail, Reply: "450 later"}), script()
		bubble(t, "$TTL 60\n$ORIGIN e.test.\n@ MX 10 mx1\nmx1 A 192.0.2.1\nmx2 A 192.0.2.2\n", servers(old, fresh), func(t *testing.T, r *rig) {
			r.sender.Resolver = &mx.Cache{Resolver: r.dns}
			r.send(t, message("u@e.test"))
			if err := r.dns.SetZone("$TTL 60\n$ORIGIN e.test.\n@ MX 10 mx2\nmx2 A 192.0.2.2\n"); err != nil {
				t.Fatal(err)
			}
			pass(61 * time.Second)
			report := r.send(t, message("u@e.test"))
			want(t, &report.Recipients[0], queue.Delivered, "mx2.e.test", "")
		})
	})
}

// TestDeadAddress is what is remembered of an address that failed.
func TestDeadAddress(t *testing.T) {
	t.Run("MX-23, SMTP-35 a black hole costs its timeout once, one socket at a time", func(t *testing.T) {
		second := script()
		bubble(t, zone, map[string]smtptest.Server{"192.0.2.1": script(), "192.0.2.2": second}, func(t *testing.T, r *rig) {
			if err := r.net.SetLink("192.0.2.1", smtptest.Link{Fault: smtptest.BlackHole}); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			report := r.send(t, message("u@e.test"))
			want(t, &report.Recipients[0], queue.Delivered, "mx2.e.test", "")
			if took := time.Since(start); took < 30*time.Second || took > 31*time.Second {
				t.Errorf("took %v, want the connect timeout", took)
			}
			if e := report.Recipients[0].Attempts[0].Err; e.Stage != delivery.StageConnect || e.Enhanced != "4.4.1" {
				t.Errorf("first attempt: %v, %s", e, e.Enhanced)
			}
			for _, d := range r.net.Dials() {
				if d.Open > 1 {
					t.Errorf("%d connections open at once", d.Open)
				}
			}
			start = time.Now()
			report = r.send(t, message("v@e.test"))
			want(t, &report.Recipients[0], queue.Delivered, "mx2.e.test", "")
			if took := time.Since(start); took > time.Second {
				t.Errorf("the second message took %v", took)
			}
			if e := report.Recipients[0].Attempts[0].Err; !e.Remembered {
				t.Errorf("first attempt: %v, want it remembered", e)
			}
			if err := r.net.SetLink("192.0.2.1", smtptest.Link{}); err != nil {
				t.Fatal(err)
			}
			pass(16 * time.Second)
			report = r.send(t, message("w@e.test"))
			want(t, &report.Recipients[0], queue.Delivered, "mx1.e.test", "")
		})
	})
	t.Run("MX-23 two addresses of one host are not raced", func(t *testing.T) {
		live := script()
		bubble(t, "$ORIGIN e.test.\n@ MX 10 mx1\nmx1 A 192.0.2.1\nmx1 A 192.0.2.2\n", map[string]smtptest.Server{"192.0.2.2": live}, func(t *testing.T, r *rig) {
			if err := r.net.SetLink("192.0.2.1", smtptest.Link{Fault: smtptest.BlackHole}); err != nil {
				t.Fatal(err)
			}
			for i, took := range []time.Duration{30 * time.Second, 0} { // the second message leaves the dead address out
				start := time.Now()
				report := r.send(t, message(fmt.Sprintf("u%d@e.test", i)))
				want(t, &report.Recipients[0], queue.Delivered, "mx1.e.test", "")
				if got := time.Since(start); got < took || got > took+time.Second {
					t.Errorf("message %d took %v, want %v", i, got, took)
				}
			}
			dials := r.net.Dials()
			for _, d := range dials {
				if d.Open > 1 {
					t.Errorf("%d connections open at once", d.Open)
				}
			}
			if len(dials) != 2 || dials[1].At.Before(dials[0].At) {
				t.Errorf("dialled %v", dials)
			}
		})
	})
	t.Run("MX-23 where all are dead, they are tried all the same", func(t *testing.T) {
		only := script()
		bubble(t, "$ORIGIN e.test.\n@ MX 10 mx1\nmx1 A 192.0.2.1\n", servers(only), func(t *testing.T, r *rig) {
			if err := r.net.Cut("192.0.2.1"); err != nil {
				t.Fatal(err)
			}
			r.send(t, message("u@e.test"))
			if err := r.net.Heal("192.0.2.1"); err != nil {
				t.Fatal(err)
			}
			report := r.send(t, message("u@e.test"))
			want(t, &report.Recipients[0], queue.Delivered, "mx1.e.test", "")
		})
	})
	t.Run("FAULTS connecting: a local shortage says nothing about the host", func(t *testing.T) {
		for _, fault := range []smtptest.Fault{smtptest.NoFiles, smtptest.NoPorts} {
			bubble(t, zone, servers(script()), func(t *testing.T, r *rig) {
				if err := r.net.SetLink("192.0.2.1", smtptest.Link{Fault: fault}); err != nil {
					t.Fatal(err)
				}
				report := r.send(t, message("u@e.test"))
				if got := report.Recipients[0].Outcome; got != queue.Deferred {
					t.Errorf("%v, want deferred", got)
				}
				if err := r.net.SetLink("192.0.2.1", smtptest.Link{}); err != nil {
					t.Fatal(err)
				}
				report = r.send(t, message("u@e.test"))
				want(t, &report.Recipients[0], queue.Delivered, "mx1.e.test", "")
			})
		}
	})
}

// TestRouting is what DNS alone decides.
func TestRouting(t *testing.T) {
	cases := []struct {
		name, zone, domain string
		rules              []mxtest.Rule
		outcome            queue.Outcome
		enhanced           string
		code               int
	}{
		{"MX-4 NXDOMAIN fails at once", zone, "nowhere.test", nil, queue.Failed, "5.1.2", 0},
		{"MX-5 SERVFAIL defers, the address is not tried", zone, "e.test",
			[]mxtest.Rule{{Name: "e.test", Type: mx.TypeMX, Fault: mxtest.ServFail}}, queue.Deferred, "4.4.3", 0},
		{"MX-29 null MX fails at once with 556", "$ORIGIN e.test.\n@ MX 0 .\n@ A 192.0.2.1\n", "e.test", nil, queue.Failed, "5.1.10", 556},
		{"MX-26 only ourselves: a loop", "$ORIGIN e.test.\n@ MX 10 self\n@ A 192.0.2.1\nself A 192.0.2.1\n", "e.test", nil, queue.Failed, "5.4.6", 0},
		{"MX-21 no host has an address", "$ORIGIN e.test.\n@ MX 10 a\n@ MX 20 b\n@ A 192.0.2.1\n", "e.test", nil, queue.Failed, "5.4.4", 0},
		{"MX-21 one host's lookup fails", "$ORIGIN e.test.\n@ MX 10 a\n@ MX 20 b\n@ A 192.0.2.1\n", "e.test",
			[]mxtest.Rule{{Name: "b.e.test", Fault: mxtest.ServFail}}, queue.Deferred, "4.4.3", 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			host := script()
			bubble(t, c.zone, servers(host), func(t *testing.T, r *rig) {
				r.sender.Self = []string{"self.e.test"}
				for _, rule := range c.rules {
					if err := r.dns.Set(rule); err != nil {
						t.Fatal(err)
					}
				}
				report := r.send(t, message("u@"+c.domain))
				rr := &report.Recipients[0]
				if rr.Outcome != c.outcome || rr.Reply.Enhanced != c.enhanced || rr.Reply.Code != c.code || rr.Err.Stage != delivery.StageDNS {
					t.Errorf("%v, %d %s, %v; want %v, %d %s", rr.Outcome, rr.Reply.Code, rr.Reply.Enhanced, rr.Err, c.outcome, c.code, c.enhanced)
				}
				if len(r.net.Dials()) != 0 {
					t.Errorf("dialled %v", r.dialled())
				}
			})
		})
	}
	t.Run("MX-21 a host whose lookup fails is passed over and named", func(t *testing.T) {
		bubble(t, zone, servers(script(), script()), func(t *testing.T, r *rig) {
			if err := r.dns.Set(mxtest.Rule{Name: "mx1.e.test", Fault: mxtest.ServFail}); err != nil {
				t.Fatal(err)
			}
			report := r.send(t, message("u@e.test"))
			want(t, &report.Recipients[0], queue.Delivered, "mx2.e.test", "")
			if a := report.Recipients[0].Attempts[0]; a.Host != "mx1.e.test" || a.Err.Stage != delivery.StageDNS {
				t.Errorf("first attempt: %+v", a)
			}
		})
	})
	t.Run("MX-21 a failed lookup keeps the others' refusals from being final", func(t *testing.T) {
		no := script(smtptest.Cue{At: smtptest.Banner, Reply: "554 no"})
		bubble(t, zone, servers(no, no), func(t *testing.T, r *rig) {
			if err := r.dns.Set(mxtest.Rule{Name: "mx3.e.test", Fault: mxtest.ServFail}); err != nil {
				t.Fatal(err)
			}
			report := r.send(t, message("u@e.test"))
			if got := report.Recipients[0].Outcome; got != queue.Deferred {
				t.Errorf("%v, want deferred", got)
			}
		})
	})
	t.Run("MX-6 an alias changes the routing, not the recipient", func(t *testing.T) {
		host := script()
		bubble(t, "a.test. CNAME b.test.\nb.test. MX 10 m.b.test.\nm.b.test. A 192.0.2.1\n", servers(host), func(t *testing.T, r *rig) {
			r.send(t, message("u@a.test"))
			if m := host.Messages(); len(m) != 1 || !slices.Equal(m[0].To(), []string{"u@a.test"}) {
				t.Errorf("messages %+v", m)
			}
		})
	})
	t.Run("MX-3, MX-12 the report says how the host was found", func(t *testing.T) {
		host := script()
		bubble(t, "e.test. A 192.0.2.1\n", servers(host), func(t *testing.T, r *rig) {
			for to, kind := range map[string]mx.Via{"u@e.test": mx.ViaImplicit, "u@[192.0.2.1]": mx.ViaLiteral} {
				r.dns.Forget()
				report := r.send(t, message(to))
				if rr := &report.Recipients[0]; rr.Outcome != queue.Delivered || rr.Via != kind {
					t.Errorf("%s: %v by %v, want %v", to, rr.Outcome, rr.Via, kind)
				}
				if n := len(r.dns.Queries()); (n == 0) != (kind == mx.ViaLiteral) {
					t.Errorf("%s: %d queries", to, n)
				}
			}
		})
	})
}

// TestCancel is the caller giving up at four points.
func TestCancel(t *testing.T) {
	cases := []struct {
		name string
		at   smtptest.Stage
		want queue.Outcome
	}{
		{"before MAIL", smtptest.Hello, queue.Deferred},
		{"after RCPT", smtptest.Rcpt, queue.Deferred},
		{"after DATA", smtptest.Data, queue.Deferred},
		{"after the dot", smtptest.Final, queue.Unknown},
	}
	for _, c := range cases {
		t.Run("SMTP-34 "+c.name, func(t *testing.T) {
			host := &smtptest.Host{Extensions: []string{"PIPELINING"}, Script: []smtptest.Cue{{At: c.at, Then: smtptest.Stall}}}
			other := script()
			bubble(t, zone, servers(host, other), func(t *testing.T, r *rig) {
				ctx, cancel := contextWithCancelAfter(t, time.Second)
				defer cancel()
				report := sendContext(t, ctx, r.sender, message("u@e.test"))
				if got := report.Recipients[0].Outcome; got != c.want {
					t.Errorf("%v, want %v", got, c.want)
				}
				if len(other.Connections()) != 0 {
					t.Error("another host was contacted")
				}
				synctest.Wait()
			})
		})
	}
}
