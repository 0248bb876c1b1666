package delivery_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
)

// zone is the usual world: e.test with three preferences.
const zone = `
$TTL 300
$ORIGIN e.test.
@    MX 10 mx1
@    MX 20 mx2
@    MX 30 mx3
@    A  192.0.2.99
mx1  A  192.0.2.1
mx2  A  192.0.2.2
mx3  A  192.0.2.3
@    SOA ns.e.test. hostmaster.e.test. 1 3600 600 86400 60
`

const text = "From: a@from.test\r\nTo: u@e.test\r\nSubject: s\r\n\r\nbody\r\n"

// full are the extensions of an up-to-date host.
func full() []string {
	return []string{"PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "SIZE 0", "ENHANCEDSTATUSCODES", "DSN"}
}

// rig is a sender in an internet of its own.
type rig struct {
	dns    *mxtest.DNS
	net    *smtptest.Network
	sender *delivery.Sender
}

// bubble runs f in virtual time, with hosts by address.
func bubble(t *testing.T, zone string, servers map[string]smtptest.Server, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{dns: &mxtest.DNS{Zone: zone}, net: &smtptest.Network{Servers: servers}}
		r.sender = &delivery.Sender{Hello: "from.test", Resolver: r.dns, Dial: r.net.DialContext}
		defer r.net.Close()
		defer r.sender.Close()
		f(t, r)
		r.sender.Close()
		pass(50 * time.Millisecond) // for hosts look a moment whether more comes
		for addr, s := range servers {
			if h, ok := s.(*smtptest.Host); ok {
				for _, v := range h.Violations() {
					t.Errorf("%s: %v", addr, v)
				}
			}
		}
	})
}

// message is the usual one, to the given recipients.
func message(to ...string) *queue.Message {
	m := &queue.Message{From: "a@from.test", Content: queue.String(text)}
	for _, a := range to {
		m.Recipients = append(m.Recipients, queue.Recipient{Address: a})
	}
	return m
}

// send makes an attempt and checks what every report promises.
func (r *rig) send(t *testing.T, m *queue.Message) *delivery.Report {
	t.Helper()
	return sendContext(t, t.Context(), r.sender, m)
}

func sendContext(t *testing.T, ctx context.Context, s *delivery.Sender, m *queue.Message) *delivery.Report {
	t.Helper()
	report, err := s.Send(ctx, m)
	if len(report.Recipients) != len(m.Recipients) {
		t.Fatalf("%d recipients in the report, want %d", len(report.Recipients), len(m.Recipients))
	}
	all := true
	for i := range report.Recipients {
		rr := &report.Recipients[i]
		all = all && rr.Outcome == queue.Delivered
		if rr.Address != m.Recipients[i].Address {
			t.Errorf("recipient %d is %q, want %q", i, rr.Address, m.Recipients[i].Address)
		}
		if (rr.Outcome == queue.Delivered) != (rr.Err == nil) {
			t.Errorf("%s: %v with error %v", rr.Address, rr.Outcome, rr.Err)
		}
	}
	if all != (err == nil) {
		t.Errorf("all delivered: %t, error %v", all, err)
	}
	return report
}

// want checks one recipient's outcome, deciding host and enhanced status.
func want(t *testing.T, r *delivery.RecipientReport, outcome queue.Outcome, host, enhanced string) {
	t.Helper()
	if r.Outcome != outcome || r.Host != host || (enhanced != "" && r.Reply.Enhanced != enhanced) {
		t.Errorf("%s: %v by %q, status %s (%v); want %v by %q, status %s",
			r.Address, r.Outcome, r.Host, r.Reply.Enhanced, r.Err, outcome, host, enhanced)
	}
}

// dialled are the addresses dialled, in order.
func (r *rig) dialled() []string {
	var list []string
	for _, d := range r.net.Dials() {
		list = append(list, d.Addr.Addr().String())
	}
	return list
}

// contextWithCancelAfter is a context that is cancelled after a while.
func contextWithCancelAfter(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(d, cancel)
	return ctx, func() { timer.Stop(); cancel() }
}

// pass lets virtual time go by.
func pass(d time.Duration) { <-time.After(d) }
