package delivery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// bare is a queue without the abilities that are optional.
type bare struct{ queue.Queue }

// TestTwoDestinationsLate: the sender is told of everyone who is late, of each once, and
// the events of each destination name the report that does so.
func TestTwoDestinationsLate(t *testing.T) {
	const delay = queue.NotifyDelay | queue.NotifyFailure
	for _, c := range []struct {
		name    string
		down    []string // as opposed to saying later
		notify  [2]queue.Notify
		bare    bool
		want    []string // who is told of in each report
		delayed int      // events
	}{
		{"both say later", nil, [2]queue.Notify{delay, delay}, false, []string{"u@e.test v@x.test"}, 2},
		{"neither can be reached", []string{"mx1.e.test", "mx.x.test"}, [2]queue.Notify{}, false, []string{"u@e.test v@x.test"}, 2},
		{"one cannot be reached", []string{"mx.x.test"}, [2]queue.Notify{delay, delay}, false, []string{"u@e.test v@x.test"}, 2},
		{"one is not asked for", nil, [2]queue.Notify{queue.NotifyFailure, delay}, false, []string{"v@x.test"}, 1},
		{"the other is not", nil, [2]queue.Notify{delay, queue.NotifyNever}, false, []string{"u@e.test"}, 1},
		{"in a queue that does not show its mail", nil, [2]queue.Notify{delay, delay}, true, []string{"u@e.test", "v@x.test"}, 2},
	} {
		t.Run("DSN-5 "+c.name, func(t *testing.T) {
			correspond(t, refuse("450 4.2.1 busy"), func(t *testing.T, o *correspondence) {
				if c.bare {
					o.agent.Queue = bare{new(memory.Queue)}
				}
				o.agent.Settings.Jitter = 0 // one is late before the other
				for _, host := range c.down {
					o.net.Cut(host)
				}
				o.net.Cut("mail.from.test") // the first report waits while the second is due
				m := message("u@e.test", "v@x.test")
				m.Recipients[0].Notify, m.Recipients[1].Notify = c.notify[0], c.notify[1]
				o.start()
				o.submit(m)
				pass(12 * time.Hour)
				o.net.Heal("mail.from.test")
				pass(12 * time.Hour)
				var told []string
				for _, r := range o.reports() {
					var who []string
					for _, f := range r.Recipients {
						who = append(who, strings.TrimPrefix(f.Get("Final-Recipient"), "rfc822; "))
						if f.Get("Action") != "delayed" || f.Get("Status")[0] != '4' || f.Get("Will-Retry-Until") == "" {
							t.Errorf("%q", f)
						}
					}
					slices.Sort(who)
					told = append(told, strings.Join(who, " "))
				}
				slices.Sort(told)
				if !slices.Equal(told, c.want) {
					t.Errorf("the reports tell of %q, want %q", told, c.want)
				}
				events := o.of(delivery.Delayed)
				if len(events) != c.delayed {
					t.Fatalf("%d events, want %d", len(events), c.delayed)
				}
				ids := make(map[string]bool)
				for _, e := range events {
					ids[e.BounceID] = true
				}
				if len(ids) != len(c.want) || ids[""] {
					t.Errorf("the events name the reports %v, want %d", ids, len(c.want))
				}
			})
		})
	}
}

// TestManyDestinationsLate: of a message to many destinations that are all late there is
// one report.
func TestManyDestinationsLate(t *testing.T) {
	t.Run("DSN-5 more than a report names", func(t *testing.T) {
		const n = 1500
		net := &smtptest.Internet{Zone: bothZone + domains(n, "mx1.e.test")}
		correspondIn(t, net, refuse("450 4.2.1 busy"), nil, func(t *testing.T, o *correspondence) {
			o.agent.Settings.Jitter = 0
			o.start()
			m := &queue.Message{From: "a@from.test", Content: queue.String("Subject: x\r\n\r\nx\r\n")}
			for i := range n {
				m.Recipients = append(m.Recipients, queue.Recipient{Address: fmt.Sprintf("u@d%d.test", i)})
			}
			o.submit(m)
			pass(12 * time.Hour)
			if got := len(o.one().Recipients); got != 1000 {
				t.Errorf("it names %d recipients", got)
			}
			ids := make(map[string]bool)
			for _, e := range o.of(delivery.Delayed) {
				ids[e.BounceID] = true
			}
			if got := len(o.of(delivery.Delayed)); got != n || len(ids) != 1 {
				t.Errorf("%d events name %d reports, want one event for each destination and one report", got, len(ids))
			}
		})
	})
}
