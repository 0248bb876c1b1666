package delivery_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestDecisions is what becomes of what a PolicySource decides.
func TestDecisions(t *testing.T) {
	refused := func() *delivery.Decision {
		return &delivery.Decision{
			Domain: "e.test", Host: "mx1.e.test", Result: tlsrpt.NotTrusted, Reason: "word", Fault: delivery.FaultHost, Text: "it is not trusted",
			Held: []delivery.HeldTo{{Domain: "e.test", Policy: tlsrpt.Policy{Type: tlsrpt.TLSA}, Failures: []tlsrpt.Failure{{Result: tlsrpt.NotTrusted}}}},
		}
	}
	fine := func() *delivery.Decision {
		return &delivery.Decision{Domain: "e.test", Host: "mx1.e.test", Accepted: true, Text: "fine"}
	}
	judging := func(d *delivery.Decision) func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) {
		return func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) {
			return delivery.TLSPolicy{Judge: func(*delivery.Handshake) *delivery.Decision { return d }}, nil
		}
	}
	none, no, yes := (*delivery.Decision)(nil), refused(), fine()
	for _, c := range []struct {
		name     string
		clear    bool
		policy   func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error)
		outcome  queue.Outcome
		status   string
		decision *delivery.Decision
		conns    int
	}{
		{"an error before the connection", false, func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) { return delivery.TLSPolicy{}, no.Err() }, queue.Deferred, "4.7.5", no, 0},
		{"an error that is none of a policy", false, func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) { return delivery.TLSPolicy{}, errors.New("what") }, queue.Deferred, "4.7.5", none, 0},
		{"TLS that is refused", false, judging(no), queue.Deferred, "4.7.5", no, 1},
		{"a session in clear that is refused", true, judging(no), queue.Deferred, "4.7.4", no, 1},
		{"TLS that is accepted", false, judging(yes), queue.Delivered, "", yes, 1},
		{"a session in clear that is accepted", true, judging(yes), queue.Delivered, "", yes, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := script()
			if !c.clear {
				h.Extensions = append(full(), "STARTTLS")
			}
			bubble(t, "$ORIGIN e.test.\n@ MX 10 mx1\nmx1 A 192.0.2.1\n", servers(h), func(t *testing.T, r *rig) {
				r.sender.Policy = policyFunc(c.policy)
				var told []*delivery.Decision
				r.sender.Trace = &delivery.Trace{Decided: func(d *delivery.Decision) { told = append(told, d) }}
				report := r.send(t, message("u@e.test"))
				rr := &report.Recipients[0]
				want(t, rr, c.outcome, "mx1.e.test", c.status)
				if rr.Decision != c.decision || rr.Attempts[0].Decision != c.decision {
					t.Errorf("%v, in the attempt %v", rr.Decision, rr.Attempts[0].Decision)
				}
				if len(told) != 1 && c.decision != nil || len(told) > 0 && told[0] != c.decision {
					t.Errorf("told %v", told)
				}
				if n := len(h.Connections()); n != c.conns || c.outcome == queue.Deferred && mails(h) != 0 {
					t.Errorf("%d connections, %d MAIL", n, mails(h))
				}
				text, err := json.Marshal(rr.Attempts[0])
				if err != nil || strings.Contains(string(text), `"decision":{`) != (c.decision == no) {
					t.Errorf("%s, %v", text, err)
				}
				if c.decision == no {
					pe, ok := errors.AsType[*delivery.PolicyError](error(rr.Err))
					if !ok || pe.Decision != no || pe.ResultType() != "certificate-not-trusted" || pe.ReasonCode() != "word" || !pe.Temporary() {
						t.Errorf("%v", rr.Err)
					}
					if !strings.HasSuffix(rr.Err.Error(), "it is not trusted (the operator of the receiving host can correct this)") {
						t.Errorf("%v", rr.Err)
					}
				}
			})
		})
	}
	t.Run("none is as good as one that accepts", func(t *testing.T) {
		bubble(t, "$ORIGIN e.test.\n@ MX 10 mx1\nmx1 A 192.0.2.1\n", servers(script()), func(t *testing.T, r *rig) {
			r.sender.Policy = policyFunc(judging(nil))
			want(t, &r.send(t, message("u@e.test")).Recipients[0], queue.Delivered, "mx1.e.test", "")
		})
	})
	t.Run("in words", func(t *testing.T) {
		d := refused()
		if got := d.String(); got != "mx1.e.test for e.test: it is not trusted [certificate-not-trusted, word, at fault: host]\n" {
			t.Errorf("%q", got)
		}
		if got := fine().String(); got != "mx1.e.test for e.test: fine\n" {
			t.Errorf("%q", got)
		}
		d.Fault = delivery.FaultDomain
		if got := d.Err().Error(); got != "it is not trusted (the operator of the receiving domain can correct this)" {
			t.Errorf("%q", got)
		}
		d.Fault, d.Cause = delivery.FaultDNS, context.Canceled
		if err := d.Err(); err.Error() != "it is not trusted" || !errors.Is(err, context.Canceled) {
			t.Errorf("%q", err)
		}
		if none.Err() != nil || yes.Err() != nil {
			t.Error("what is accepted is an error")
		}
	})
}

// lookingAgain is a PolicySource with work of its own, that keeps mail until it looks again.
type lookingAgain struct {
	policyFunc
	changed bool
	asked   []*delivery.Decision
	fails   error
	ends    bool
}

func (l *lookingAgain) RefreshTLS(_ context.Context, d *delivery.Decision) bool {
	l.asked = append(l.asked, d)
	return l.changed && len(l.asked) < 5
}

func (l *lookingAgain) RunTLS(ctx context.Context, notice func(*delivery.TLSNotice)) error {
	notice(&delivery.TLSNotice{Domain: "e.test", Host: "mx.e.test", Reason: "r", Text: "look", Err: context.DeadlineExceeded})
	if l.fails != nil || l.ends {
		return l.fails
	}
	<-ctx.Done()
	return ctx.Err()
}

// TestPolicySourceOfAnAgent has work of its own, and is asked once more before mail fails.
func TestPolicySourceOfAnAgent(t *testing.T) {
	for _, c := range []struct {
		name    string
		changed bool
		still   bool // the policy keeps mail though something has changed
		fails   error
		ends    bool
		kind    delivery.EventKind
		notices int
	}{
		{"TLS-22 nothing has changed", false, false, nil, false, delivery.Expired, 1},
		{"TLS-22 something has", true, false, nil, false, delivery.Delivered, 1},
		{"TLS-22 something has, which does not help", true, true, nil, false, delivery.Expired, 1},
		{"it fails", false, false, errors.New("over"), true, delivery.Expired, 2},
		{"it has nothing more to do", false, false, nil, true, delivery.Expired, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, &smtptest.Internet{Zone: "e.test. MX 10 mx.e.test.\nmx.e.test. A 192.0.2.1\n", Hosts: map[string]*smtptest.Host{"mx.e.test": {}}})
				source := &lookingAgain{changed: c.changed, fails: c.fails, ends: c.ends}
				after := 0 // how often it is asked for a policy once it was asked to look again
				source.policyFunc = func(*mx.Route, *mx.Host) (delivery.TLSPolicy, error) {
					if len(source.asked) > 0 {
						after++
					}
					if len(source.asked) > 0 && c.changed && !c.still {
						return delivery.TLSPolicy{}, nil
					}
					return delivery.TLSPolicy{}, (&delivery.Decision{Host: "mx.e.test", Text: "no"}).Err()
				}
				o.agent.Sender.Policy = source
				o.agent.Settings.Expire, o.agent.Settings.Warn = 20*time.Minute, -1
				o.start()
				o.submit(message("u@e.test"))
				pass(time.Hour)
				if events := o.of(c.kind); len(events) != 1 || len(source.asked) != 1 || source.asked[0].Text != "no" {
					t.Errorf("%d events, asked %d times", len(events), len(source.asked))
				}
				if !c.changed && after > 0 {
					t.Errorf("another attempt was made, by which the policy was asked for %d times, although nothing has changed", after)
				}
				o.stop()
				notices := o.of(delivery.PolicyNotice)
				if len(notices) != c.notices {
					t.Fatalf("%d notices", len(notices))
				}
				e := notices[0]
				n, ok := errors.AsType[*delivery.TLSNotice](error(e.Err))
				if !ok || n.Reason != "r" || e.Destination != "e.test" || e.Host != "mx.e.test" || e.Reply != "look: context deadline exceeded" || !errors.Is(e.Err, context.DeadlineExceeded) {
					t.Errorf("%+v", e)
				}
				if c.fails != nil && !errors.Is(notices[1].Err, c.fails) {
					t.Errorf("%+v", notices[1])
				}
			})
		})
	}
}

// TestPolicyIsNotLookedForAgain: before mail fails that no policy keeps, or that was delivered,
// the policy source is not asked to look again.
func TestPolicyIsNotLookedForAgain(t *testing.T) {
	refused := func() error { return (&delivery.Decision{Host: "mx1.e.test", Text: "no"}).Err() }
	accepting := delivery.TLSPolicy{Judge: func(*delivery.Handshake) *delivery.Decision { return &delivery.Decision{Accepted: true} }}
	began := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // in the bubble
	for _, c := range []struct {
		name   string
		policy func(host string) (delivery.TLSPolicy, error)
		kind   delivery.EventKind
	}{
		{"there is no policy", func(string) (delivery.TLSPolicy, error) { return delivery.TLSPolicy{}, nil }, delivery.Expired},
		{"it accepts the host", func(string) (delivery.TLSPolicy, error) { return accepting, nil }, delivery.Expired},
		{"it keeps mail from one host, and another takes it at last", func(host string) (delivery.TLSPolicy, error) {
			if host == "mx1.e.test" || time.Since(began) < 19*time.Minute {
				return delivery.TLSPolicy{}, refused()
			}
			return delivery.TLSPolicy{}, nil
		}, delivery.Delivered},
	} {
		t.Run("TLS-22 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				later := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Rcpt, Reply: "451 4.2.0 later"}}}
				two := later
				if c.kind == delivery.Delivered {
					two = &smtptest.Host{}
				}
				o := newOffice(t, &smtptest.Internet{
					Zone:  "e.test. MX 10 mx1.e.test.\ne.test. MX 20 mx2.e.test.\nmx1.e.test. A 192.0.2.1\nmx2.e.test. A 192.0.2.2\n",
					Hosts: map[string]*smtptest.Host{"mx1.e.test": later, "mx2.e.test": two},
				})
				source := &lookingAgain{changed: true}
				source.policyFunc = func(_ *mx.Route, host *mx.Host) (delivery.TLSPolicy, error) { return c.policy(host.Name) }
				o.agent.Sender.Policy = source
				o.agent.Settings.Expire, o.agent.Settings.Warn = 20*time.Minute, -1
				o.start()
				o.submit(message("u@e.test"))
				pass(time.Hour)
				if events := o.of(c.kind); len(events) != 1 || len(source.asked) != 0 {
					t.Errorf("%d events %v, and asked to look again %d times, want one and never", len(events), c.kind, len(source.asked))
				}
			})
		})
	}
}
