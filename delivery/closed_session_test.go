package delivery_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestClosedSession: a host ends a session with 421. Whoever waits for it, or is
// told at MAIL on a session that others used before, has lost nothing.
func TestClosedSession(t *testing.T) {
	for _, c := range []struct {
		name    string
		cue     smtptest.Cue
		charged int
	}{
		{"QUE-10 421 at MAIL of a session that is used again charges nobody", smtptest.Cue{At: smtptest.Mail, Nth: 3}, 0},
		{"QUE-10 421 at MAIL of a new session charges one", smtptest.Cue{At: smtptest.Mail}, 1},
		{"QUE-10 421 at RCPT charges one", smtptest.Cue{At: smtptest.Rcpt, Address: "u2@e.test"}, 1},
		{"QUE-10 421 to the content charges one", smtptest.Cue{At: smtptest.Final, Nth: 3}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cue.Times, c.cue.Reply, c.cue.Then = 1, "421 4.3.2 closing", smtptest.Close
			correspond(t, []smtptest.Cue{c.cue}, func(t *testing.T, o *correspondence) {
				o.agent.Settings.Limits.PerSite = 1
				const n = 30
				for i := range n {
					o.submit(message(fmt.Sprintf("u%d@e.test", i)))
				}
				o.start()
				pass(time.Hour)
				if got := len(o.net.Hosts["mx1.e.test"].Connections()); got != 2+c.charged {
					t.Errorf("%d connections, want one after the one that was closed, and one for whoever comes again", got)
				}
				late, done := o.of(delivery.Deferred), o.of(delivery.Delivered)
				if len(late) != c.charged || len(done) != n {
					t.Errorf("%d attempts charged and %d messages delivered, want %d and %d", len(late), len(done), c.charged, n)
				}
				for _, e := range done {
					want := 1
					if slices.ContainsFunc(late, func(l delivery.Event) bool { return l.ID == e.ID }) {
						want = 2
					}
					if e.Attempt != want {
						t.Errorf("%s was delivered by attempt %d, want %d", e.Recipient, e.Attempt, want)
					}
				}
			})
		})
	}
}
