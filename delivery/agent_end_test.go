package delivery_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

func TestDrain(t *testing.T) {
	for _, c := range []struct {
		name      string
		at        smtptest.Stage
		delay     time.Duration
		delivered int
		unknown   int
	}{
		{"what finishes in time is delivered", smtptest.Final, 20 * time.Second, 1, 0},
		{"what waits for the reply to its content is unknown", smtptest.Final, time.Hour, 0, 1},
		{"QUE-10 what was not sent is given back and not charged", smtptest.Rcpt, time.Hour, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &smtptest.Host{
					Extensions: full(), Script: []smtptest.Cue{{At: c.at, Delay: c.delay}},
					Allow: []smtptest.Rule{smtptest.RuleNoQuit, smtptest.RuleQuitWait},
				}
				o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
				o.start()
				o.submit(message("u@e.test"))
				pass(time.Second)
				began := time.Now()
				o.stop()
				if took := time.Since(began); took > 33*time.Second {
					t.Errorf("the end took %v, want the 30 s of the drain and 3 s at most", took)
				}
				if got := len(o.of(delivery.Delivered)); got != c.delivered {
					t.Errorf("%d delivered, want %d", got, c.delivered)
				}
				if got := len(o.of(delivery.UnknownOutcome)); got != c.unknown {
					t.Errorf("%d unknown, want %d", got, c.unknown)
				}
				page, err := queue.List(t.Context(), o.queue, queue.ListOptions{})
				if err != nil || len(page.Entries) != 1-c.delivered {
					t.Fatalf("%d messages are left, %v; want %d", len(page.Entries), err, 1-c.delivered)
				}
				for _, e := range page.Entries {
					if e.Waiting[0].Leased || e.Waiting[0].Attempts != c.unknown {
						t.Errorf("left with %+v, want no lease and %d attempts", e.Waiting[0], c.unknown)
					}
				}
			})
		})
	}
	t.Run("what waits for its turn is given back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Delay: 10 * time.Second}}}
			o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
			o.agent.Settings.Limits.Connections = 1
			o.start()
			for i := range 20 {
				o.submit(message(fmt.Sprintf("u%d@e.test", i)))
			}
			pass(5 * time.Second)
			o.stop()
			if got, left := len(o.of(delivery.Delivered)), o.left(); got != 1 || left != 19 {
				t.Errorf("%d delivered and %d left, want the one under way and the others", got, left)
			}
			o.start()
			pass(time.Hour)
			if got := len(o.of(delivery.Delivered)); got != 20 || len(host.Messages()) != 20 {
				t.Errorf("%d delivered after the next start, the host has %d; want 20", got, len(host.Messages()))
			}
		})
	})
}

func TestGuarantees(t *testing.T) {
	lost := func() *smtptest.Host {
		return &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Final, Times: 1, Then: smtptest.Close}}}
	}
	for _, c := range []struct {
		name      string
		guarantee queue.Guarantee
		copies    int
		outcome   delivery.EventKind
	}{
		{"SMTP-21 at least once is sent again after an unknown outcome", queue.AtLeastOnce, 2, delivery.Delivered},
		{"SMTP-21 at most once is not", queue.AtMostOnce, 1, delivery.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := lost()
				o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
				o.start()
				m := message("u@e.test")
				m.From, m.Guarantee = "", c.guarantee
				o.submit(m)
				pass(24 * time.Hour)
				if got := len(o.of(c.outcome)); got != 1 || o.left() != 0 {
					t.Errorf("%d events %v, want one", got, c.outcome)
				}
				contents := 0
				for _, conn := range host.Connections() {
					for _, l := range conn.Lines {
						if l.Client && strings.HasPrefix(l.Text, "[") {
							contents++
						}
					}
				}
				if contents != c.copies {
					t.Errorf("the content was sent %d times, want %d", contents, c.copies)
				}
			})
		})
	}
	t.Run("an interrupted delivery of at most once fails and is not sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: full()}
			o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
			m := message("u@e.test")
			m.From, m.Guarantee = "", queue.AtMostOnce
			o.submit(m)
			c, err := o.queue.Claim(t.Context(), time.Now(), queue.ClaimOptions{Lease: time.Minute})
			if err != nil || len(c.Deliveries) != 1 {
				t.Fatal(c, err)
			}
			if err := o.queue.Mark(t.Context(), []queue.Lease{c.Deliveries[0].Lease}); err != nil {
				t.Fatal(err)
			}
			o.start()
			pass(time.Hour)
			if got := o.of(delivery.Failed); len(got) != 1 || len(host.Messages()) != 0 {
				t.Errorf("failed: %v; the host has %d messages", got, len(host.Messages()))
			}
		})
	})
	t.Run("a message whose lease was lost gets no final dot", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Delay: 16 * time.Minute, Times: 1}}}
			o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
			o.agent.Queue = &deaf{o.queue}
			o.agent.Sender.Timeouts.Rcpt = time.Hour
			o.start()
			o.submit(message("u@e.test"))
			pass(time.Hour)
			if got := len(host.Messages()); got != 1 || len(host.Connections()) < 2 {
				t.Errorf("the host has %d messages by %d connections, want the one of the second", got, len(host.Connections()))
			}
		})
	})
	t.Run("leases are extended while a delivery lasts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			host := &smtptest.Host{Extensions: full(), Script: []smtptest.Cue{{At: smtptest.Rcpt, Delay: 50 * time.Minute}}}
			o := newOffice(t, &smtptest.Internet{Zone: single, Hosts: map[string]*smtptest.Host{"mx1.e.test": host}})
			o.agent.Sender.Timeouts.Rcpt = time.Hour
			o.start()
			o.submit(message("u@e.test"))
			pass(2 * time.Hour)
			if got := len(host.Connections()); got != 1 || len(o.of(delivery.Delivered)) != 1 {
				t.Errorf("%d connections, delivered %v; want one of each", got, o.of(delivery.Delivered))
			}
		})
	})
}

// deaf is a queue that extends no lease.
type deaf struct{ queue.Queue }

func (q *deaf) Extend(context.Context, time.Time, []queue.Lease, time.Duration) ([]queue.Extended, error) {
	return nil, fmt.Errorf("not now")
}
