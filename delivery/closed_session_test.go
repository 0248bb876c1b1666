package delivery_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestClosedSession: a host ends a session with 421, or with 221 or 451 in its place. Whoever waits for it, or is
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
		for _, reply := range []string{"421 4.3.2 closing", "221 2.0.0 idle for too long", "451 4.4.2 Timeout - closing connection"} {
			if reply[0] == '2' && c.cue.At == smtptest.Final || reply[:3] == "451" && c.cue.At != smtptest.Mail {
				continue // that accepts the message, or is about it
			}
			closedSession(t, c.name, reply, c.cue, c.charged)
		}
	}
}

func closedSession(t *testing.T, name, reply string, cue smtptest.Cue, charged int) {
	t.Helper()
	t.Run(name+", by "+reply[:3], func(t *testing.T) {
		cue.Times, cue.Reply, cue.Then = 1, reply, smtptest.Close
		correspond(t, []smtptest.Cue{cue}, func(t *testing.T, o *correspondence) {
			o.agent.Settings.Limits.PerSite = 1
			const n = 30
			for i := range n {
				o.submit(message(fmt.Sprintf("u%d@e.test", i)))
			}
			o.start()
			pass(time.Hour)
			if got := len(o.net.Hosts["mx1.e.test"].Connections()); got != 2+charged {
				t.Errorf("%d connections, want one after the one that was closed, and one for whoever comes again", got)
			}
			late, done := o.of(delivery.Deferred), o.of(delivery.Delivered)
			if len(late) != charged || len(done) != n {
				t.Errorf("%d attempts charged and %d messages delivered, want %d and %d", len(late), len(done), charged, n)
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
