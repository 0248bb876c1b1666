package delivery_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// mixed is a world of hosts 10 to 130 ms away, of which some do not answer and some
// take minutes, with ten domains each.
func mixed(rnd *rand.Rand, hosts, dead, tarpits int) *smtptest.Internet {
	var zone strings.Builder
	zone.WriteString("$TTL 86400\n")
	in := &smtptest.Internet{Hosts: map[string]*smtptest.Host{}, Links: map[string]smtptest.Link{}}
	for h := range hosts {
		name := fmt.Sprintf("mx%d.test", h)
		fmt.Fprintf(&zone, "%s. A 192.0.%d.%d\n", name, 2+h/200, 1+h%200)
		host := &smtptest.Host{Extensions: []string{"PIPELINING", "8BITMIME", "SIZE", "ENHANCEDSTATUSCODES"}}
		if h >= hosts-tarpits {
			host.Script = []smtptest.Cue{{At: smtptest.Mail, Delay: 200 * time.Second}}
		}
		link := smtptest.Link{Latency: time.Duration(5+rnd.IntN(60)) * time.Millisecond}
		if h < dead {
			link.Fault = smtptest.BlackHole
		}
		in.Hosts[name], in.Links[name] = host, link
	}
	for d := range 10 * hosts {
		fmt.Fprintf(&zone, "d%d.test. MX 10 mx%d.test.\n", d, d%hosts)
	}
	in.Zone = zone.String()
	return in
}

// TestTenants: what one tenant has queued keeps another's mail waiting for a second at
// most, whatever its hosts do, and itself takes no longer for that.
func TestTenants(t *testing.T) {
	hosts, messages, bad := 40, 5000, 2
	var most [3]time.Duration // until so much of the many is delivered, where all work
	if os.Getenv("NEXTHOP_LONG") != "" {
		hosts, messages, bad = 100, 20_000, 5
		most = [...]time.Duration{4100 * time.Millisecond, 8400 * time.Millisecond, 13600 * time.Millisecond}
	}
	for _, c := range []struct {
		name          string
		dead, tarpits int
	}{{"of which all work", 0, 0}, {"of which some are dead", bad, 0}, {"of which some are tar pits", 0, bad}} {
		t.Run("QUE-13 a trickle of one tenant beside much of another's, to hosts "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(1, 2))
				o := newOffice(t, mixed(rnd, hosts, c.dead, c.tarpits))
				var mu sync.Mutex
				sent := map[string]time.Time{}
				var took, ages []time.Duration
				began := time.Now()
				o.agent.Events = func(_ context.Context, e delivery.Event) {
					mu.Lock()
					defer mu.Unlock()
					switch {
					case e.Kind != delivery.Delivered:
					case e.Tenant == "few":
						took = append(took, time.Since(sent[e.ID]))
					default:
						ages = append(ages, time.Since(began))
					}
				}
				o.start()
				zipf := rand.NewZipf(rnd, 1.3, 8, uint64(10*hosts-1))
				for i := range messages {
					m := message(fmt.Sprintf("u%d@d%d.test", i, zipf.Uint64()))
					m.Tenant = "many"
					o.submit(m)
				}
				const n = 60
				for i := range n {
					m := &queue.Message{Tenant: "few", Content: queue.String(text), Recipients: []queue.Recipient{
						{Address: fmt.Sprintf("t%d@d%d.test", i, c.dead+rnd.IntN(hosts-c.dead-c.tarpits))},
					}}
					mu.Lock()
					sent[o.submit(m)] = time.Now()
					mu.Unlock()
					pass(500 * time.Millisecond)
				}
				pass(time.Minute)
				mu.Lock()
				defer mu.Unlock()
				slices.Sort(took)
				if len(took) != n || took[n-1] > time.Second {
					t.Errorf("%d of %d delivered, the slowest after %v, want all within a second", len(took), n, took[len(took)*9/10:])
				}
				if most[0] == 0 || c.dead+c.tarpits > 0 {
					return
				}
				for i, part := range []int{50, 90, 99} {
					if got := ages[min(messages*part/100, len(ages)-1)]; len(ages) != messages || got > most[i] {
						t.Errorf("%d %% of the many after %v, want %v at most; %d of %d in all", part, got, most[i], len(ages), messages)
					}
				}
			})
		})
	}
}
