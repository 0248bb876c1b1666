package delivery_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// metered is a host that takes so many messages a second and defers what comes beyond
// that. Where recipients is set it defers these, else whole messages.
type metered struct {
	perSecond  float64
	burst      float64       // what it takes at once after a pause
	away       time.Duration // before each reply
	recipients bool
	counts     time.Duration          // it counts anew after each of these
	always     func(line string) bool // whether it defers a message in any case

	mu              sync.Mutex
	tokens          float64
	at              time.Time
	taken, deferred int
	last            time.Time
}

func (m *metered) allow(line string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.counts > 0 {
		if now.Sub(m.at) >= m.counts {
			m.tokens, m.at = m.perSecond*m.counts.Seconds(), now.Truncate(m.counts)
		}
	} else if m.perSecond > 0 {
		m.tokens = min(m.tokens+now.Sub(m.at).Seconds()*m.perSecond, max(m.burst, 1))
		m.at = now
	} else {
		m.tokens = 1
	}
	if m.tokens < 1 || m.always != nil && m.always(line) {
		m.deferred++
		return false
	}
	m.tokens--
	m.taken++
	m.last = now
	return true
}

// Serve implements smtptest.Server.
func (m *metered) Serve(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	say := func(line string) {
		pass(m.away)
		fmt.Fprintf(conn, "%s\r\n", line)
	}
	say("220 metered.test")
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(line[:4]); {
		case verb == "MAIL" && !m.recipients && !m.allow(line), verb == "RCPT" && m.recipients && !m.allow(line):
			say("450 4.7.1 you are sending too fast")
		case verb == "DATA":
			say("354 go on")
			for line != ".\r\n" {
				if line, err = lines.ReadString('\n'); err != nil {
					return
				}
			}
			say("250 2.0.0 taken")
		case verb == "QUIT":
			say("221 2.0.0 bye")
			return
		default:
			say("250 2.0.0 ok")
		}
	}
}

// toMetered sends messages to a host until it has taken all, and says how long that took.
func toMetered(t *testing.T, m *metered, messages int, most time.Duration) time.Duration {
	t.Helper()
	in := &smtptest.Network{Servers: map[string]smtptest.Server{"192.0.2.1": m}}
	o := newOffice(t, &smtptest.Internet{Zone: zone, Hosts: map[string]*smtptest.Host{}})
	t.Cleanup(func() { in.Close() })
	o.agent.Sender.Dial = in.DialContext
	o.agent.Settings.Schedule = delivery.Delays{10 * time.Second}
	o.agent.Settings.Limits.PerSite = 20
	o.start()
	m.at = time.Now()
	began := time.Now()
	for i := range messages {
		o.submit(message(fmt.Sprintf("u%d@e.test", i)))
	}
	for until := began.Add(most); time.Now().Before(until); pass(100 * time.Millisecond) {
		m.mu.Lock()
		taken := m.taken
		m.mu.Unlock()
		if taken >= messages {
			break
		}
	}
	o.stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.taken < messages {
		t.Errorf("%d of %d messages taken after %v, %d attempts deferred", m.taken, messages, most, m.deferred)
		return most
	}
	t.Logf("%d messages in %v, %d attempts deferred", m.taken, m.last.Sub(began), m.deferred)
	return m.last.Sub(began)
}

// TestGrantedRate: a site that defers what comes above a rate is offered little more than
// that, and no less.
func TestGrantedRate(t *testing.T) {
	for _, c := range []struct {
		name     string
		m        *metered
		messages int
		least    time.Duration // that the host needs for them
		deferred float64       // of all attempts, at most
	}{
		{"one message a second", &metered{perSecond: 1, away: time.Millisecond}, 600, 600 * time.Second, 0.15},
		{"one recipient a second, far away", &metered{perSecond: 1, away: 50 * time.Millisecond, recipients: true}, 600, 600 * time.Second, 0.15},
		{"ten messages a second", &metered{perSecond: 10, burst: 2, away: time.Millisecond}, 2000, 200 * time.Second, 0.15},
		{"ten recipients a second", &metered{perSecond: 10, burst: 5, away: time.Millisecond, recipients: true}, 2000, 200 * time.Second, 0.15},
		{"a hundred messages a second", &metered{perSecond: 100, burst: 25, away: time.Millisecond}, 5000, 50 * time.Second, 0.1},
		{"a hundred recipients a second", &metered{perSecond: 100, burst: 25, away: time.Millisecond, recipients: true}, 5000, 50 * time.Second, 0.1},
		{"ten in each second", &metered{perSecond: 10, counts: time.Second, away: time.Millisecond, recipients: true}, 2000, 200 * time.Second, 0.15},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				most := c.least*115/100 + 30*time.Second
				if took := toMetered(t, c.m, c.messages, 3*most); took > most {
					t.Errorf("taken after %v, want %v at most", took, most)
				}
				if of := float64(c.m.deferred) / float64(c.m.deferred+c.m.taken); of > c.deferred {
					t.Errorf("%d of %d attempts deferred", c.m.deferred, c.m.deferred+c.m.taken)
				}
			})
		})
	}
}

// TestDeferredAnyway: a site that defers some mail however fast it comes is offered it as
// fast as it takes it.
func TestDeferredAnyway(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	oneIn := func(n int) func(string) bool { return func(string) bool { return rnd.IntN(n) == 0 } }
	seen := map[string]time.Time{}
	for _, c := range []struct {
		name   string
		always func(line string) bool
		most   time.Duration // until it has taken all, where each is tried again after ten seconds
	}{
		{"one in ten", oneIn(10), time.Minute},
		{"one in four", oneIn(4), 90 * time.Second},
		{"every other one", oneIn(2), 3 * time.Minute},
		{"what is new to it", func(line string) bool {
			if seen[line].IsZero() {
				seen[line] = time.Now()
			}
			return time.Since(seen[line]) < 9*time.Second
		}, 2 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				toMetered(t, &metered{away: time.Millisecond, recipients: true, always: c.always}, 1000, c.most)
			})
		})
	}
}
