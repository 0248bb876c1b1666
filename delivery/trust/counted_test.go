package trust_test

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// TestEachConnectionCountsOnce: a report of TLS has each connection to a host once, and as
// what it came to: not as a success if the host then breaks it, nor as a failure if a ticket
// was in the way, nor again for the connection in clear that follows, or for mail that takes
// a session from before.
func TestEachConnectionCountsOnce(t *testing.T) {
	mind := func(resumed bool) func(h *smtptest.Host) {
		return func(h *smtptest.Host) {
			h.TLS.VerifyConnection = func(s tls.ConnectionState) error {
				if s.DidResume == resumed {
					return errors.New("no")
				}
				return nil
			}
		}
	}
	const (
		none    = "no-policy-found e.test "
		enforce = "sts e.test "
		broken  = "\n validation-failure handshake-failed"
	)
	for _, c := range []struct {
		name     string
		set      func(h *smtptest.Host)
		zone     string
		messages int
		kept     bool // sessions are
		want     string
		outcome  queue.Outcome
		tls      string
	}{
		{"three connections, of which two are resumed", nil, "", 3, false, none + "3/0", queue.Delivered, "encrypted"},
		{"a session that is kept", nil, "", 3, true, none + "1/0", queue.Delivered, "encrypted"},
		{"a session that is kept, under a policy", nil, sts("e.test", "1"), 3, true, enforce + "1/0", queue.Delivered, "mta-sts"},
		{"a host that breaks what was resumed", mind(true), "", 2, false, none + "2/0", queue.Delivered, "encrypted"},
		{"a host that breaks what was resumed, under a policy", mind(true), sts("e.test", "1"), 2, false, enforce + "2/0", queue.Delivered, "mta-sts"},
		{"a host that breaks every handshake at its end, and has mail in clear", mind(false), "", 1, false, none + "0/1" + broken, queue.Delivered, "none"},
		{"a host that breaks every handshake at its end, under a policy", mind(false), sts("e.test", "1"), 1, false, enforce + "0/1" + broken, queue.Deferred, "none"},
		{"a host that refuses STARTTLS for now", func(h *smtptest.Host) {
			h.Script = []smtptest.Cue{{At: smtptest.StartTLS, Reply: "454 later"}}
		}, "", 1, false, none + "0/1" + broken, queue.Delivered, "none"},
		{"a host that is lost inside TLS once, and has mail in clear", func(h *smtptest.Host) {
			h.Script = []smtptest.Cue{{At: smtptest.HelloTLS, Conn: 1, Then: smtptest.Close}}
		}, "", 1, false, none + "0/1" + broken, queue.Delivered, "none"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run("TLS-43 "+c.name+", "+tls.VersionName(version), func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					h := w.host("mx1.e.test", w.certificate("mx1.e.test"))
					h.Allow = []smtptest.Rule{smtptest.RuleNoQuit}
					h.TLS.MaxVersion = version
					w.web.set("e.test", "enforce", "mx1.e.test")
					w.start(oneMX, c.zone)
					if !c.kept {
						w.apart()
					}
					if c.set != nil {
						c.set(h)
					}
					for range c.messages {
						check(t, w.send("u@e.test"), c.outcome, "mx1.e.test", c.tls, "")
					}
					if got := w.reported(); got != c.want || strings.Count(got, "\n") > 1 {
						t.Errorf("reported is\n%s\nwant\n%s", got, c.want)
					}
				})
			})
		}
	}
}
