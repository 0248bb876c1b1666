package trust_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/dane"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// office is an agent at work in a world.
type office struct {
	*delivery.Agent
	w *world

	mu     sync.Mutex
	events []delivery.Event
}

// run runs an agent for the world's sender until the test ends; change its settings before.
func (w *world) run(settings delivery.Settings) (o *office, stop func()) {
	o = &office{w: w}
	o.Agent = &delivery.Agent{
		Queue: &memory.Queue{}, Sender: w.sender, Settings: settings,
		Events: func(_ context.Context, e delivery.Event) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.events = append(o.events, e)
		},
		Panic: func(v any) { w.t.Errorf("a hook panicked: %v", v) },
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- o.Run(ctx) }()
	return o, sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
}

// of are the events of one kind.
func (o *office) of(kind delivery.EventKind) (list []delivery.Event) {
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

func (o *office) submit(to string) {
	if _, err := o.Submit(o.w.t.Context(), message(to)); err != nil {
		o.w.t.Fatal(err)
	}
}

// TestOnceMoreBeforeMailFails: a policy that keeps mail back is looked at once more before
// that mail is given up.
func TestOnceMoreBeforeMailFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *world)
		kind   delivery.EventKind
	}{
		{"TLS-22 it was withdrawn without a new id", func(w *world) { w.web.set("e.test", "none") }, delivery.Delivered},
		{"TLS-22 it names the host by now", func(w *world) { w.web.set("e.test", "enforce", "mx1.e.test") }, delivery.Delivered},
		{"TLS-22 it is the same", func(*world) {}, delivery.Expired},
		{"TLS-22 it cannot be fetched", func(w *world) { w.web.setDown(true) }, delivery.Expired},
		{"TLS-22 it names yet other hosts", func(w *world) { w.web.set("e.test", "enforce", "mx8.e.test") }, delivery.Expired},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
				w.web.set("e.test", "enforce", "mx9.e.test")
				w.start(oneMX, sts("e.test", "1"))
				o, stop := w.run(delivery.Settings{Schedule: delivery.Delays{time.Hour}, Expire: 150 * time.Minute, Warn: -1, Jitter: -1})
				defer stop()
				o.submit("u@e.test")
				pass(100 * time.Minute)
				if n := len(o.of(delivery.Deferred)); n != 2 || mails(h) != 0 {
					t.Fatalf("deferred %d times, %d MAIL", n, mails(h))
				}
				gets := w.web.fetched()
				c.change(w)
				pass(2 * time.Hour)
				events := o.of(c.kind)
				if len(events) != 1 || len(o.of(delivery.Deferred)) != 3 {
					t.Fatalf("%d events of the kind %v, %d deferrals: %v", len(events), c.kind, len(o.of(delivery.Deferred)), o.events)
				}
				if d := events[0].Decision; d == nil || d.Accepted != (c.kind == delivery.Delivered) {
					t.Errorf("%v", d)
				}
				if n := w.web.fetched() - gets; n < 1 || n > 1 && c.name != "TLS-22 it cannot be fetched" {
					t.Errorf("the policy was fetched %d times", n)
				}
				if c.kind == delivery.Expired && !strings.Contains(events[0].Reply, "does not name the host mx1.e.test") {
					t.Errorf("the reason is %q", events[0].Reply)
				}
			})
		})
	}
}

// TestAgentLooksAfterPolicies: what a source has to do by itself is done while an agent
// runs, and not after.
func TestAgentLooksAfterPolicies(t *testing.T) {
	t.Run("TLS-23 a policy is fetched again before it expires", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.host("mx1.e.test", w.certificate("mx1.e.test"))
			w.web.set("e.test", "enforce", "mx1.e.test")
			w.start(oneMX, sts("e.test", "1"))
			o, stop := w.run(delivery.Settings{})
			o.submit("u@e.test")
			pass(49 * time.Hour)
			if w.web.fetched() < 2 {
				t.Errorf("it was fetched %d times in two days", w.web.fetched())
			}
			stop()
			gets := w.web.fetched()
			pass(49 * time.Hour)
			if w.web.fetched() != gets {
				t.Error("it is fetched when the agent has stopped")
			}
		})
	})
	t.Run("TLS-26 that DANE is off is told at the start", func(t *testing.T) {
		for _, c := range []struct {
			name   string
			signed bool
			rules  []mxtest.Rule
			reason []string
			cause  error
		}{
			{"a resolver that vouches for nothing", false, nil, []string{"dane-off"}, dane.ErrNoDNSSEC},
			{"one that vouches for the root", true, nil, nil, nil},
			{"one that does not answer", true, []mxtest.Rule{{Name: ".", Type: mx.TypeNS, Fault: mxtest.ServFail}}, []string{"dane-unknown"}, nil},
		} {
			t.Run(c.name, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					w.net.Signed["."], w.net.Rules = c.signed, c.rules
					w.start(". NS a.root.test.")
					o, stop := w.run(delivery.Settings{})
					defer stop()
					pass(time.Minute)
					var got []string
					for _, e := range o.of(delivery.PolicyNotice) {
						n, ok := errors.AsType[*delivery.TLSNotice](error(e.Err))
						if !ok || e.Reply == "" || c.cause != nil && !errors.Is(e.Err, c.cause) {
							t.Fatalf("%+v", e)
						}
						got = append(got, n.Reason)
					}
					if !slices.Equal(got, c.reason) {
						t.Errorf("told %q, want %q", got, c.reason)
					}
				})
			})
		}
	})
}

// TestJoinedShipments: an agent sends mail of two domains at the same hosts together only
// if no policy of either has a say.
func TestJoinedShipments(t *testing.T) {
	for _, kept := range []bool{true, false} { // sessions, else TLS is resumed
		t.Run(fmt.Sprintf("kept %t", kept), func(t *testing.T) { testJoinedShipments(t, kept) })
	}
}

func testJoinedShipments(t *testing.T, kept bool) {
	t.Helper()
	bubble(t, func(t *testing.T, w *world) {
		h := w.host("mx.host.test", w.certificate("mx.host.test"))
		w.web.set("a.test", "enforce", "mx.host.test")
		w.web.set("b.test", "enforce", "mx.other.test")
		w.web.set("c.test", "testing", "mx.other.test")
		var zone []string
		for _, d := range []string{"a", "b", "c", "d", "e"} {
			zone = append(zone, d+".test. MX 10 mx.host.test.")
		}
		w.start(strings.Join(zone, "\n"), "mx.host.test. A 192.0.2.1", sts("a.test", "1"), sts("b.test", "1"), sts("c.test", "1"))
		if !kept {
			w.apart()
		}
		o, stop := w.run(delivery.Settings{})
		defer stop()
		for range 3 {
			if _, err := o.Submit(t.Context(), message("u@a.test", "u@b.test", "u@c.test", "u@d.test", "u@e.test")); err != nil {
				t.Fatal(err)
			}
			pass(time.Minute)
		}
		protection := map[string]string{"u@a.test": "mta-sts", "u@c.test": "encrypted", "u@d.test": "encrypted", "u@e.test": "encrypted"}
		delivered := o.of(delivery.Delivered)
		if len(delivered) != 3*len(protection) {
			t.Errorf("%d delivered", len(delivered))
		}
		for _, e := range delivered {
			if e.TLS.String() != protection[e.Recipient] {
				t.Errorf("%s: TLS %v", e.Recipient, e.TLS)
			}
			if e.Destination == "c.test" && e.Decision.Domain != "c.test" {
				t.Errorf("%s by the decision for %s", e.Recipient, e.Decision.Domain)
			}
		}
		for _, e := range o.of(delivery.Deferred) {
			if e.Destination != "b.test" || e.Decision == nil || e.Decision.Domain != "b.test" || e.Decision.Reason != "mx-mismatch" {
				t.Errorf("%s is deferred: %v", e.Recipient, e.Decision)
			}
		}
		together := 0
		for _, m := range h.Messages() {
			if to := slices.Sorted(slices.Values(m.To())); len(to) > 1 {
				together++
				if !slices.Equal(to, []string{"u@d.test", "u@e.test"}) {
					t.Errorf("sent together: %q", to)
				}
			}
		}
		if together != 3 {
			t.Errorf("d.test and e.test went together %d times, want 3", together)
		}
	})
}

// TestPolicyOfOneDomainHoldsUpNoOther: that a domain's policy keeps its mail back is no
// reason to leave the hosts alone that it shares with others.
func TestPolicyOfOneDomainHoldsUpNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.host("mx.host.test", w.certificate("mx.host.test"))
		w.web.set("b.test", "enforce", "mx.other.test")
		w.start("a.test. MX 10 mx.host.test.", "b.test. MX 10 mx.host.test.", "mx.host.test. A 192.0.2.1", sts("b.test", "1"))
		o, stop := w.run(delivery.Settings{})
		defer stop()
		for range 5 {
			o.submit("u@b.test")
			pass(time.Second)
			o.submit("u@a.test")
			pass(time.Second)
		}
		if got, kept := len(o.of(delivery.Delivered)), len(o.of(delivery.Deferred)); got != 5 || kept != 5 {
			t.Errorf("%d of a.test delivered, %d of b.test deferred, want 5 and 5", got, kept)
		}
	})
}

// TestBounceSaysWhichPolicy: who sent a message that a policy has kept for too long reads
// which, what is wrong, and who can put it right.
func TestBounceSaysWhichPolicy(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"DANE", []string{"_25._tcp.mx1 " + otherTLSA}, "DANE for mx1.e.test: refused: no certificate matches a TLSA record (the operator of the receiving host can correct this)"},
		{"MTA-STS", []string{sts("e.test", "20240101")}, "MTA-STS policy 20240101 of e.test: it does not name the host mx1.e.test (the operator of the receiving domain can correct this)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.host("mx1.e.test", w.certificate("mx1.e.test"))
				sender := w.host("mx.from.test", w.certificate("mx.from.test"))
				w.web.set("e.test", "enforce", "mx9.e.test")
				w.start(append([]string{oneMX, "from.test. MX 10 mx.from.test.", "mx.from.test. A 192.0.2.9"}, c.lines...)...)
				o, stop := w.run(delivery.Settings{Expire: time.Hour, Warn: -1})
				defer stop()
				o.submit("u@e.test")
				pass(2 * time.Hour)
				messages := sender.Messages()
				if len(messages) != 1 || len(o.of(delivery.Bounced)) != 1 {
					t.Fatalf("%d reports", len(messages))
				}
				text := strings.Join(strings.Fields(string(messages[0].Content)), " ")
				if !strings.Contains(text, c.want) {
					t.Errorf("the report does not say %q:\n%s", c.want, messages[0].Content)
				}
			})
		})
	}
}

// TestSenderTellsWhatIsWrongWithItsPolicy: a program that looks at its Sender when it starts
// learns that its policies cannot be asked for.
func TestSenderTellsWhatIsWrongWithItsPolicy(t *testing.T) {
	for want, source := range map[string]*trust.Source{
		"trust.Source.Resolver": {},
		"trust.Source.Default":  {Resolver: &mxtest.DNS{}, Default: trust.Fingerprint},
		"trust.Source.Store":    {Resolver: &mxtest.DNS{}, Store: &mtasts.Dir{}},
	} {
		sender := &delivery.Sender{Policy: source}
		if err := sender.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the Sender says %v, want %s", err, want)
		}
		agent := &delivery.Agent{Queue: &memory.Queue{}, Sender: sender}
		if err := agent.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the Agent says %v, want %s", err, want)
		}
	}
	if err := (&delivery.Sender{Policy: &trust.Source{Resolver: &mxtest.DNS{}}}).Validate(); err != nil {
		t.Errorf("of one that makes sense it says %v", err)
	}
}
