package delivery_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestPartialDelivery is what an error says if some recipients were delivered: who was
// not, as the message names them, and how many were.
func TestPartialDelivery(t *testing.T) {
	refuses := func(list ...string) map[string]smtptest.Server {
		h := &smtptest.Host{Extensions: full()}
		for _, a := range list {
			h.Script = append(h.Script, smtptest.Cue{At: smtptest.Rcpt, Address: a, Reply: "550 5.1.1 who"})
		}
		return map[string]smtptest.Server{"192.0.2.1": h}
	}
	for _, c := range []struct {
		name      string
		refused   []string
		to        []string
		recipient string
		delivered int
		text      string
		left      []string
	}{
		{"one of three is refused", []string{"V@e.test"}, []string{"u@e.test", "V@e.test", "w@e.test"}, "V@e.test", 2,
			"mx1.e.test (192.0.2.1:25): rcpt: 550 5.1.1 who (V@e.test); 2 of 3 delivered", []string{"V@e.test"}},
		{"one is no address", nil, []string{"u@e.test", "v e.test"}, "v e.test", 1, "", []string{"v e.test"}},
		{"all are refused", []string{"u@e.test", "v@e.test"}, []string{"u@e.test", "v@e.test"}, "u@e.test", 0, "", []string{"u@e.test", "v@e.test"}},
		{"the only one is refused", []string{"u@e.test"}, []string{"u@e.test"}, "", 0, "mx1.e.test (192.0.2.1:25): rcpt: 550 5.1.1 who", []string{"u@e.test"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, zone, refuses(c.refused...), func(t *testing.T, r *rig) {
				report, err := r.sender.Send(t.Context(), message(c.to...))
				e, ok := errors.AsType[*delivery.Error](err)
				if !ok {
					t.Fatal(err)
				}
				if n := len(c.to); e.Recipient != c.recipient || n > 1 && (e.Recipients != n || e.Delivered != c.delivered) || n == 1 && e.Recipients != 0 {
					t.Errorf("%q, %d of %d delivered", e.Recipient, e.Delivered, e.Recipients)
				}
				if c.text != "" && e.Error() != c.text {
					t.Errorf("%q, want %q", e, c.text)
				}
				if got := report.Undelivered(); !slices.Equal(got, c.left) {
					t.Errorf("left are %q, want %q", got, c.left)
				}
			})
		})
	}
}

// TestErrorStatus is what a server says to its client of an error.
func TestErrorStatus(t *testing.T) {
	for _, c := range []struct {
		err      delivery.Error
		code     int
		enhanced string
	}{
		{delivery.Error{Stage: delivery.StageRcpt, Code: 550, Enhanced: "5.1.1", Verdict: delivery.Refused}, 550, "5.1.1"},
		{delivery.Error{Stage: delivery.StageRcpt, Code: 452, Enhanced: "4.2.2"}, 452, "4.2.2"},
		{delivery.Error{Stage: delivery.StageDNS, Code: 556, Enhanced: "5.1.10", Verdict: delivery.Refused}, 556, "5.1.10"},
		{delivery.Error{Stage: delivery.StageConnect, Enhanced: "4.4.1"}, 451, "4.4.1"},
		{delivery.Error{Stage: delivery.StageBanner, Code: 554, Enhanced: "5.3.2", Verdict: delivery.NotNow}, 451, "4.3.2"},
		{delivery.Error{Stage: delivery.StageBanner, Code: 421, Enhanced: "4.3.2"}, 451, "4.3.2"},
		{delivery.Error{Stage: delivery.StageMessage, Enhanced: "5.1.3", Verdict: delivery.Refused}, 553, "5.1.3"},
		{delivery.Error{Stage: delivery.StageMessage, Enhanced: "5.3.4", Verdict: delivery.Refused}, 552, "5.3.4"},
		{delivery.Error{Stage: delivery.StageMessage, Enhanced: "5.6.0", Verdict: delivery.Refused}, 550, "5.6.0"},
		{delivery.Error{Verdict: delivery.Refused}, 550, "5.0.0"},
		{delivery.Error{Verdict: delivery.MaybeTaken, Enhanced: "4.4.2", AtMostOnce: true}, 550, "5.4.2"},
	} {
		if code, enhanced := c.err.Status(); code != c.code || enhanced != c.enhanced {
			t.Errorf("%+v: %d %s, want %d %s", c.err, code, enhanced, c.code, c.enhanced)
		}
	}
}
