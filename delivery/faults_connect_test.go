package delivery_test

import (
	"context"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// dualStack is a primary of four addresses in both families, and a secondary.
const dualStack = `
	$ORIGIN e.test.
	@    MX   10 mx1
	@    MX   20 mx2
	mx1  A    192.0.2.11
	mx1  A    192.0.2.12
	mx1  AAAA 2001:db8::11
	mx1  AAAA 2001:db8::12
	mx2  A    192.0.2.2
`

// mute accepts a connection and never says a word.
type mute struct{}

func (mute) Serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_, _ = io.Copy(io.Discard, conn)
}

// TestConnecting is what can go wrong before the first reply: the primary fails
// in one way at some or all of its addresses.
func TestConnecting(t *testing.T) {
	all := []string{"192.0.2.11", "192.0.2.12", "2001:db8::11", "2001:db8::12"}
	v6 := all[2:]
	http := &smtptest.Host{Script: []smtptest.Cue{{At: smtptest.Banner, Delay: time.Minute, Raw: "HTTP/1.1 408 Request Timeout\r\n\r\n", Then: smtptest.Close}}}
	cases := []struct {
		name   string
		where  []string
		fault  smtptest.Fault
		server smtptest.Server // takes the primary's place, where not nil
		host   string          // that takes the message; empty is nobody
		dials  int
		stage  delivery.Stage // of the first attempt
		took   time.Duration  // at most
	}{
		{name: "refused", where: all, fault: smtptest.ConnRefused, host: "mx2.e.test", dials: 5, stage: delivery.StageConnect},
		{name: "unreachable", where: all, fault: smtptest.Unreachable, host: "mx2.e.test", dials: 5, stage: delivery.StageConnect},
		{name: "black hole", where: all, fault: smtptest.BlackHole, host: "mx2.e.test", dials: 5, stage: delivery.StageConnect, took: 4 * 30 * time.Second},
		{name: "reset on accept", where: all, fault: smtptest.ResetOnAccept, host: "mx2.e.test", dials: 5, stage: delivery.StageBanner},
		{name: "half the addresses dead", where: []string{all[0], all[2]}, fault: smtptest.BlackHole, host: "mx1.e.test", took: time.Minute},
		{name: "IPv6 broken and IPv4 fine", where: v6, fault: smtptest.Unreachable, host: "mx1.e.test"},
		{name: "IPv4 broken and IPv6 fine", where: all[:2], fault: smtptest.Unreachable, host: "mx1.e.test"},
		{name: "no local port", where: append(slices.Clone(all), "192.0.2.2"), fault: smtptest.NoPorts, dials: 5, stage: delivery.StageConnect},
		{name: "no file descriptor", where: append(slices.Clone(all), "192.0.2.2"), fault: smtptest.NoFiles, dials: 5, stage: delivery.StageConnect},
		{name: "accept and never speak", where: all, server: mute{}, host: "mx2.e.test", dials: 5, stage: delivery.StageBanner, took: 4 * 5 * time.Minute},
		{name: "TLS on the plain port", where: all, server: &smtptest.Host{ImplicitTLS: true}, host: "mx2.e.test", dials: 5, stage: delivery.StageBanner, took: 4 * 5 * time.Minute},
		{name: "HTTP on the plain port", where: all, server: http, host: "mx2.e.test", dials: 5, stage: delivery.StageBanner, took: 4 * time.Minute},
	}
	for _, c := range cases {
		t.Run("SMTP-35 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				primary, secondary := &smtptest.Host{}, &smtptest.Host{}
				in := &smtptest.Internet{Zone: dualStack, Links: map[string]smtptest.Link{}, Servers: map[string]smtptest.Server{}}
				in.Hosts = map[string]*smtptest.Host{"mx1.e.test": primary, "mx2.e.test": secondary}
				if c.server != nil {
					delete(in.Hosts, "mx1.e.test")
				}
				for _, where := range c.where {
					in.Links[where] = smtptest.Link{Fault: c.fault}
					if c.server != nil {
						in.Servers[where] = c.server
					}
				}
				in.Start(t)
				sender := &delivery.Sender{Hello: "from.test", Resolver: in, Dial: in.DialContext}
				defer sender.Close()
				began := time.Now()
				report := sendContext(t, t.Context(), sender, message("u@e.test"))
				took := time.Since(began)
				r := &report.Recipients[0]
				wantOutcome := queue.Delivered
				if c.host == "" {
					wantOutcome = queue.Deferred
				}
				if r.Outcome != wantOutcome || c.host != "" && r.Host != c.host {
					t.Errorf("%v by %s (%v), want %v by %s", r.Outcome, r.Host, r.Err, wantOutcome, c.host)
				}
				if n := len(in.Network().Dials()); c.dials != 0 && n != c.dials {
					t.Errorf("%d dials, want %d: %v", n, c.dials, in.Visits())
				}
				if first := r.Attempts[0]; c.dials != 0 && (first.Err == nil || first.Err.Stage != c.stage || first.Verdict != delivery.NotNow) {
					t.Errorf("first attempt %v: %v, want stage %v", first.Verdict, first.Err, c.stage)
				}
				if took > c.took+time.Second || took < c.took/2 {
					t.Errorf("took %v, want about %v", took, c.took)
				}
				in.Check(t)
			})
		})
	}
}
