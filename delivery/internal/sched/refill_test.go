package sched

import (
	"fmt"
	"testing"
	"time"
)

// TestRefillOfSlowSites has sites that are not quick hold three quarters of what they may:
// none of them is given mail until they hold less, but quick ones are.
func TestRefillOfSlowSites(t *testing.T) {
	const most = 400 / 2 * 3 / 4
	// full has parked mail of a site whose attempts take so long, which has room for it,
	// while sites that are not quick hold so much.
	full := func(t *testing.T, took time.Duration, held int) *desk {
		d := newDesk(t, Settings{Connections: 40, PerSite: 2, Ahead: 400})
		d.known("s", took)
		d.mail("A", "d", 25, Route{Site: "s"})
		d.settle()
		const left = minAhead*3/4 - 2
		if took >= quickTime {
			held += d.s.sites["s"].held - left
		}
		for i := 0; d.s.heldSlow < held; i++ {
			d.mails("B", fmt.Sprint("n", i))
		}
		d.s.MailCame(d.now)
		d.pass(gatherMore)
		if d.claim == nil || isRefill(d.claim) {
			t.Fatalf("%+v, want another claim", d.claim)
		}
		for d.s.sites["s"].held > left { // while that is under way
			for _, b := range d.begun {
				if b.Site == "s" {
					d.end(b, Works, took)
					break
				}
			}
		}
		return d
	}
	t.Run("M5 one that is not quick waits", func(t *testing.T) {
		d := full(t, 6*time.Second, most)
		d.want("held at sites that are not quick", d.s.heldSlow, most)
		d.want("parked", d.s.sites["s"].parked, 1)
		d.want("a claim of its own", d.claimUntil(isRefill) == nil, true)
		d.sleeps("they hold what they may")
		for id := range d.s.items {
			if d.s.items[id].Tenant == "B" && d.s.Withdraw(d.now, id) {
				d.s.Settled(d.now, id, false, time.Time{})
				break
			}
		}
		d.decide()
		d.want("held then", d.s.heldSlow, most-1)
		d.want("a claim of its own", d.claimUntil(isRefill) != nil, true)
	})
	t.Run("M5 one that is quick does not", func(t *testing.T) {
		d := full(t, time.Second, most)
		d.want("a claim of its own", d.claimUntil(isRefill) != nil, true)
	})
}

// TestRoomBySettings: mail for which a site had no room is claimed when other settings
// make some.
func TestRoomBySettings(t *testing.T) {
	group := func(limits ...GroupLimits) func(string) SiteLimits {
		return func(string) SiteLimits { return SiteLimits{PerSite: 4, Groups: limits} }
	}
	tight := Settings{Connections: 40, PerSite: 4, Ahead: 400, Site: group(GroupLimits{Name: "g", Connections: 1})}
	for name, loose := range map[string]func(string) SiteLimits{
		"M5 no group any more":         group(),
		"M5 another group":             group(GroupLimits{Name: "h", Connections: 40}),
		"M5 more for the group":        group(GroupLimits{Name: "g", Connections: 40}),
		"M5 a rate of the site's gone": group(),
	} {
		t.Run(name, func(t *testing.T) {
			set := tight
			if name == "M5 a rate of the site's gone" {
				set.Site = func(string) SiteLimits { return SiteLimits{PerSite: 4, Rate: 1} }
			}
			d := newDesk(t, set)
			d.known("s", time.Millisecond)
			d.mail("A", "d", 60, Route{Site: "s"})
			d.settle()
			d.want("parked", d.s.sites["s"].parked, 1)
			d.want("a claim of its own while there is no room", d.claimUntil(isRefill) == nil, true)
			set.Site = loose
			d.s.Configure(d.now, set)
			d.decide()
			d.want("a claim of its own then", d.claimUntil(isRefill) != nil, true)
		})
	}
}

// TestAfterARefill: what is claimed next is what the claim for a site says of its mail.
func TestAfterARefill(t *testing.T) {
	for what, c := range map[string]struct {
		next time.Duration
		want []string
	}{
		"there is no more":           {0, nil},
		"there is more in a second":  {time.Second, []string{"all"}},
		"there is more in some time": {time.Hour, nil}, // other mail is due before
	} {
		t.Run("M2 "+what, func(t *testing.T) {
			d := newDesk(t, Settings{Connections: 40, PerSite: 2, Ahead: 400})
			d.known("s", time.Second)
			d.mail("A", "d", 25, Route{Site: "s"})
			d.settle()
			d.idle(0)
			d.drainTo(11)
			d.want("a claim for the site", d.claimUntil(isRefill) != nil, true)
			d.answer(c.next)
			d.want("claims at once", kindsOf(d.idle(0)), []string(nil))
			d.pass(time.Second)
			d.want("claims after a second", kindsOf(d.idle(0)), c.want)
		})
	}
}
