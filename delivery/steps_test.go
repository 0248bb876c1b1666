package delivery_test

import (
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestSteps is what the attempts in a report say of how the walk went on.
func TestSteps(t *testing.T) {
	for _, c := range []struct {
		name  string
		hosts []smtptest.Server
		want  []delivery.Next
	}{
		{"taken", []smtptest.Server{script()}, []delivery.Next{delivery.StopSettled}},
		{"refused", []smtptest.Server{script(smtptest.Cue{At: smtptest.Rcpt, Reply: "550 5.1.1 who"})}, []delivery.Next{delivery.StopSettled}},
		{"not now, then taken", []smtptest.Server{script(smtptest.Cue{At: smtptest.Rcpt, Reply: "450 4.2.0 later"}), script()},
			[]delivery.Next{delivery.NextHost, delivery.StopSettled}},
		{"lost before an answer, then taken", []smtptest.Server{script(smtptest.Cue{At: smtptest.Rcpt, Then: smtptest.Close}), script()},
			[]delivery.Next{delivery.NextAddress, delivery.StopSettled}},
		{"lost at the dot", []smtptest.Server{script(smtptest.Cue{At: smtptest.Final, Then: smtptest.Close}), script()},
			[]delivery.Next{delivery.StopUnknown}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, zone, servers(c.hosts...), func(t *testing.T, r *rig) {
				rr := &r.send(t, message("u@e.test")).Recipients[0]
				if len(rr.Attempts) != len(c.want) {
					t.Fatalf("%d attempts, want %d: %+v", len(rr.Attempts), len(c.want), rr.Attempts)
				}
				for i, a := range rr.Attempts {
					if a.Next != c.want[i] {
						t.Errorf("after attempt %d: %v, want %v", i, a.Next, c.want[i])
					}
				}
			})
		})
	}
}

// TestRepliesOfReports is the reply that a report has: the host's own, with the address
// it came from, else the cause in words.
func TestRepliesOfReports(t *testing.T) {
	t.Run("a host's", func(t *testing.T) {
		bubble(t, zone, servers(script(smtptest.Cue{At: smtptest.Rcpt, Reply: "550-5.1.1 who\n550 5.1.1 is that"})), func(t *testing.T, r *rig) {
			got := r.send(t, message("u@e.test")).Recipients[0].Reply
			if got.Host != "mx1.e.test" || got.Addr != "192.0.2.1:25" || got.Code != 550 || got.Enhanced != "5.1.1" || !strings.HasPrefix(got.Text, "5.1.1 who\n") {
				t.Errorf("%+v", got)
			}
		})
	})
	t.Run("of no host", func(t *testing.T) {
		bubble(t, zone, nil, func(t *testing.T, r *rig) {
			rr := &r.send(t, message("u@gone.test")).Recipients[0]
			if rr.Outcome != queue.Failed || rr.Reply.Addr != "" || rr.Reply.Text != rr.Err.Err.Error() {
				t.Errorf("%v: %+v", rr.Outcome, rr.Reply)
			}
		})
	})
}

// TestRefusalsOfOne is a refusal that is about one recipient, at a host that takes one
// in a transaction: the others are offered all the same.
func TestRefusalsOfOne(t *testing.T) {
	for name, cue := range map[string]smtptest.Cue{
		"at RCPT, for the sake of a policy":      {At: smtptest.Rcpt, Address: "a@e.test", Reply: "550 5.7.1 no"},
		"of content, for the sake of an address": {At: smtptest.Final, Times: 1, Reply: "550 5.1.1 who"},
		"of content, for the sake of a mailbox":  {At: smtptest.Final, Times: 1, Reply: "552 5.2.2 full"},
	} {
		t.Run(name, func(t *testing.T) {
			host := &smtptest.Host{Extensions: append(full(), "LIMITS RCPTMAX=1"), MaxRecipients: 1, Script: []smtptest.Cue{cue}}
			bubble(t, zone, servers(host), func(t *testing.T, r *rig) {
				report := r.send(t, message("a@e.test", "b@e.test"))
				want(t, &report.Recipients[0], queue.Failed, "mx1.e.test", "")
				want(t, &report.Recipients[1], queue.Delivered, "mx1.e.test", "")
			})
		})
	}
}
