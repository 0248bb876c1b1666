package smtp_test

import (
	"testing"

	"github.com/nexthop-mail/nexthop/internal/smtp"
)

func TestSend(t *testing.T) {
	for name, ext := range modes() {
		with(t, "delivers "+name, offering(ext...), func(r *rig) {
			r.open()
			res := r.send(message("u@e.test", "v@e.test"))
			r.wantStates(res, "delivered", "delivered")
			if res.Err != nil || res.Mail.Code != 250 || res.Final.Code != 250 {
				r.t.Errorf("result %+v", res)
			}
			r.s.Quit(r.t.Context())
			got := r.host.Messages()
			if len(got) != 1 || string(got[0].Content) != hello || len(got[0].To()) != 2 {
				r.t.Errorf("the host took %+v", got)
			}
		})
	}
	with(t, "one flight on a warm session", offering("PIPELINING", "CHUNKING"), func(r *rig) {
		r.warm()
		before := r.host.RoundTrips()
		r.wantStates(r.send(message("u@e.test")), "delivered")
		if n := r.host.RoundTrips() - before; n != 1 {
			r.t.Errorf("%d round trips", n)
		}
	})
	_ = smtp.Delivered
}
