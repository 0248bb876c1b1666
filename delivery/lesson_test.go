package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
)

// TestLoginAskedForLater: a host that has taken mail within the last hour and asks for a
// login at RCPT means one recipient; one that asks at MAIL, or that has taken nothing for
// an hour, means all mail, which waits for the login to be mended.
func TestLoginAskedForLater(t *testing.T) {
	for _, c := range []struct {
		name    string
		to      string
		after   time.Duration // since it took mail
		between string        // a recipient at another host, meanwhile
		refused bool
	}{
		{"at RCPT, a moment after it took mail", "inner@e.test", time.Second, "", false},
		{"at RCPT, and another host took mail meanwhile", "inner@e.test", time.Minute, "u@x.test", false},
		{"at RCPT, almost an hour later", "inner@e.test", time.Hour - time.Second, "", false},
		{"at RCPT, more than an hour later", "inner@e.test", time.Hour + time.Second, "", true},
		{"at MAIL", "u@e.test", time.Second, "", true},
	} {
		t.Run("EXT-20 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const login = "530 5.7.0 log in first"
				host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{
					{At: smtptest.Rcpt, Address: "inner@e.test", Reply: login}, {At: smtptest.Mail, Address: "later@from.test", Reply: login},
				}}
				o := newOffice(t, &smtptest.Internet{
					Zone:  single + "x.test. A 192.0.2.7\n",
					Hosts: map[string]*smtptest.Host{"mx1.e.test": host, "x.test": {Extensions: full()}},
				})
				o.start()
				o.submit(message("u@e.test"))
				pass(c.after / 2)
				if c.between != "" {
					o.submit(message(c.between))
				}
				pass(c.after - c.after/2)
				m := message(c.to)
				if c.to == "u@e.test" {
					m.From = "later@from.test"
				}
				id := o.submit(m)
				pass(time.Second)
				if got := len(o.of(delivery.LoginRefused)) > 0; got != c.refused {
					t.Fatalf("the login is refused: %t, want %t", got, c.refused)
				}
				if charged := len(o.of(delivery.Deferred)) > 0; charged == c.refused {
					t.Errorf("an attempt is charged: %t, want %t", charged, !c.refused)
				}
				list, err := o.agent.Why(t.Context(), id)
				if err != nil || len(list) != 1 || list[0].Last == "" || (list[0].Reason == delivery.WaitLoginRefused) != c.refused || c.refused && list[0].Since.IsZero() {
					t.Errorf("it waits for %+v, %v", list, err)
				}
			})
		})
	}
}

// TestSinceWhenASiteIsLeftAlone: what mail waits for has lasted since it was met first, and
// not since it was met again, nor since something else was wrong.
func TestSinceWhenASiteIsLeftAlone(t *testing.T) {
	for _, c := range []struct {
		name   string
		second smtptest.Cue
		reason delivery.WaitReason
		since  time.Duration
	}{
		{"the same again", smtptest.Cue{At: smtptest.Banner, Conn: 2, Reply: "421 4.3.2 no", Then: smtptest.Close}, delivery.WaitSiteDown, 0},
		{"something else", smtptest.Cue{At: smtptest.Mail, Conn: 2, Reply: "530 5.7.0 log in"}, delivery.WaitLoginRefused, 5 * time.Minute},
	} {
		t.Run("QUE-11 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, toHost(&smtptest.Host{Extensions: full(), Script: []smtptest.Cue{
					{At: smtptest.Banner, Conn: 1, Reply: "421 4.3.2 no", Then: smtptest.Close}, c.second,
				}}))
				o.start()
				began := time.Now()
				o.submit(message("u@e.test"))
				pass(5*time.Minute + time.Second)
				id := o.submit(message("v@e.test"))
				pass(time.Second)
				list, err := o.agent.Why(t.Context(), id)
				if err != nil || len(list) != 1 || list[0].Reason != c.reason || list[0].Since.Sub(began).Round(time.Second) != c.since {
					t.Errorf("it waits for %+v, %v; want %v since %v", list, err, c.reason, began.Add(c.since))
				}
			})
		})
	}
}

// TestFullHost: a host that greets with 421 soon after it took mail is taken to have too
// many connections, and costs no attempt; later it is taken to be down.
func TestFullHost(t *testing.T) {
	for after, charged := range map[time.Duration]bool{9 * time.Second: false, 11 * time.Second: true} {
		t.Run(fmt.Sprintf("QUE-13 %v after it took mail", after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, toHost(&smtptest.Host{Extensions: full(), Script: []smtptest.Cue{
					{At: smtptest.Final, Conn: 1, Reply: "250 2.0.0 taken", Then: smtptest.Close},
					{At: smtptest.Banner, Conn: 2, Reply: "421 4.7.0 too many connections", Then: smtptest.Close},
				}}))
				o.start()
				o.submit(message("u@e.test"))
				pass(after)
				o.submit(message("v@e.test"))
				pass(time.Minute)
				if got := len(o.of(delivery.Deferred)) > 0; got != charged {
					t.Errorf("an attempt is charged: %t, want %t", got, charged)
				}
				if got := len(o.of(delivery.Delivered)); got != map[bool]int{true: 1, false: 2}[charged] {
					t.Errorf("%d delivered within a minute", got)
				}
			})
		})
	}
}

// lookups is a router that answers with an error, and may say whether DNS works.
type lookups struct{ err error }

func (r lookups) Route(context.Context, string, string) (mx.Route, error) { return mx.Route{}, r.err }

type probed struct {
	lookups
	probe error
}

func (r probed) Probe(context.Context) error { return r.probe }

// panics is a router that panics where it is to look whether DNS works.
type panics struct{ lookups }

func (panics) Probe(context.Context) error { panic("Probe") }

// TestWhatIsTroubleWithDNS: a route that is not found is trouble of ours if the router says
// so, which is asked only if no server has answered.
func TestWhatIsTroubleWithDNS(t *testing.T) {
	of := func(k mx.ResolveErrorKind) error { return &mx.ResolveError{Name: "e.test", Kind: k} }
	for _, c := range []struct {
		name    string
		router  delivery.Router
		trouble bool
	}{
		{"no server answers, and DNS does not work", probed{lookups{of(mx.Timeout)}, of(mx.Timeout)}, true},
		{"SERVFAIL, and DNS does not work", probed{lookups{of(mx.ServFail)}, of(mx.Unreachable)}, true},
		{"no server answers, and DNS works", probed{lookups{of(mx.Timeout)}, nil}, false},
		{"no server answers, and DNS is not looked at any more", probed{lookups{of(mx.Timeout)}, of(mx.Canceled)}, false},
		{"no server answers, and nobody can say whether DNS works", lookups{of(mx.Timeout)}, false},
		{"no server answers, and it panics to see whether DNS works", panics{lookups{of(mx.Timeout)}}, false},
		{"an answer that is no use, and DNS does not work", probed{lookups{of(mx.NoAnswer)}, of(mx.Timeout)}, false},
		{"something else is wrong", probed{lookups{errors.New("no database")}, of(mx.Timeout)}, false},
	} {
		t.Run("DNS-3 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, toHost(&smtptest.Host{Extensions: full()}))
				o.agent.Sender.Router, o.agent.Sender.Resolver = c.router, nil
				o.agent.Panic = nil
				o.start()
				o.submit(message("u@e.test"))
				pass(10 * time.Second)
				if told, charged := len(o.of(delivery.Trouble)) > 0, len(o.of(delivery.Deferred)) > 0; told != c.trouble || charged == c.trouble {
					t.Errorf("trouble of ours: %t, charged: %t; want one of them, trouble: %t", told, charged, c.trouble)
				}
			})
		})
	}
}

// TestTroubleWithOneConnectionOfTwo: what fails on our side must concern every connection
// that was tried.
func TestTroubleWithOneConnectionOfTwo(t *testing.T) {
	for both, trouble := range map[bool]bool{true: true, false: false} {
		t.Run(fmt.Sprintf("QUE-13 no descriptor for both: %t", both), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, &smtptest.Internet{Zone: zone, Hosts: map[string]*smtptest.Host{}})
				dials := 0
				o.agent.Sender.Dial = func(_ context.Context, network, _ string) (net.Conn, error) {
					cause := syscall.ECONNREFUSED
					if dials++; dials == 1 || both {
						cause = syscall.EMFILE
					}
					return nil, &net.OpError{Op: "dial", Net: network, Err: cause}
				}
				o.start()
				o.submit(message("u@e.test"))
				pass(time.Second / 2)
				if told, charged := len(o.of(delivery.Trouble)) > 0, len(o.of(delivery.Deferred)) > 0; told != trouble || charged == trouble {
					t.Errorf("trouble of ours: %t, charged: %t after %d connections; want trouble: %t", told, charged, dials, trouble)
				}
			})
		})
	}
}

// TestNotAskedAgain: mail for a host that another message waits for waits with it, and is
// charged nothing.
func TestNotAskedAgain(t *testing.T) {
	t.Run("MX-23", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, &smtptest.Internet{
				Zone: "a.test. A 192.0.2.1\nb.test. A 192.0.2.1\nc.test. A 192.0.2.1\n", Hosts: map[string]*smtptest.Host{"a.test": {Extensions: full()}},
			})
			const refuse, wait, connect = 0, 1, 2
			var mode atomic.Int32
			dial := o.agent.Sender.Dial
			o.agent.Sender.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				switch mode.Load() {
				case refuse:
					return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
				case wait:
					select {
					case <-time.After(20 * time.Second):
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}
				return dial(ctx, network, address)
			}
			o.start()
			o.submit(message("u@a.test"))
			pass(time.Minute)
			mode.Store(wait)
			o.submit(message("u@b.test"))
			pass(time.Second)
			mode.Store(connect)
			o.submit(message("u@c.test"))
			pass(10 * time.Second)
			if n := len(o.of(delivery.Deferred)); n != 1 {
				t.Errorf("%d attempts are charged, want that of the first message", n)
			}
			pass(time.Minute)
			if got := o.of(delivery.Delivered); len(got) != 2 || got[0].Attempt != 1 || got[1].Attempt != 1 {
				t.Errorf("delivered %+v, want the others at their first attempts", got)
			}
		})
	})
}

// TestPolicyOfOneDomain: what a policy of one domain holds back says nothing of the host,
// which takes the mail of another domain at once.
func TestPolicyOfOneDomain(t *testing.T) {
	t.Run("SMTP-43 QUE-12", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: full()}
			o := newOffice(t, &smtptest.Internet{
				Zone:  "a.test. MX 10 mx.test.\nb.test. MX 10 mx.test.\nmx.test. A 192.0.2.1\n",
				Hosts: map[string]*smtptest.Host{"mx.test": host},
			})
			o.agent.Sender.Policy = policyFunc(func(route *mx.Route, _ *mx.Host) (delivery.TLSPolicy, error) {
				if route.Domain == "a.test" {
					no := &delivery.Decision{Domain: "a.test", Host: "mx.test", Text: "it is not trusted"}
					return delivery.TLSPolicy{Judge: func(*delivery.Handshake) *delivery.Decision { return no }}, nil
				}
				return delivery.TLSPolicy{}, nil
			})
			o.start()
			o.submit(message("u@a.test"))
			pass(time.Second)
			if n := len(o.of(delivery.Deferred)); n != 1 {
				t.Fatalf("%d are deferred, want the one that its policy holds back", n)
			}
			o.submit(message("u@b.test"))
			pass(time.Second)
			if n := len(o.of(delivery.Delivered)); n != 1 || len(host.Messages()) != 1 {
				t.Errorf("%d are delivered a second later, want the other", n)
			}
		})
	})
}
