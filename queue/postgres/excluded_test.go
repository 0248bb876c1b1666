package postgres_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// excluded is how much there is that claims leave out, and how much of it a handle
// remembers and looks at in one claim.
type excluded struct{ remembered, page, many int }

func excludedSizes() excluded {
	if os.Getenv("NEXTHOP_LONG") != "" {
		return excluded{1000, 0, 12_000}
	}
	return excluded{50, 100, 400}
}

// soon is how many claims may be needed to come by all of it, for a handle that knows
// nothing of it.
func (e excluded) soon() int { return 30 + 4*e.many/max(e.page, 500) }

func (e excluded) held(t *testing.T) *held {
	h := newHeld(t)
	postgres.Remember(h.q, e.remembered)
	postgres.Look(h.q, e.page)
	return h
}

// names are d0.example and those that follow.
func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = "d" + strconv.Itoa(i) + ".example"
	}
	return list
}

// However much is due that a claim leaves out, and whatever it leaves it out for, it
// returns the mail that came after that.
func TestMailBehindMoreThanIsRemembered(t *testing.T) {
	e := excludedSizes()
	n := e.many
	postponed := func(owner string) (list []queue.Postponement) {
		for _, name := range names(n) {
			list = append(list, queue.Postponement{Destination: name, Until: time.Now().Add(24 * time.Hour), Owner: owner})
		}
		return list
	}
	for name, prepare := range map[string]func(h *held) queue.ClaimOptions{
		"destinations that the claim names": func(h *held) queue.ClaimOptions {
			h.backlog(n, n, "big")
			return queue.ClaimOptions{Max: 10, Except: names(n)}
		},
		"destinations that the claim names, with bounds": func(h *held) queue.ClaimOptions {
			h.backlog(n, n, "big")
			return queue.ClaimOptions{Max: 10, Except: names(n), PerDestination: 20, PerTenant: 50}
		},
		"destinations that its owner has postponed": func(h *held) queue.ClaimOptions {
			h.backlog(n, n, "big")
			if err := h.q.Postpone(h.t.Context(), h.now, postponed("me")...); err != nil {
				h.t.Fatal(err)
			}
			return queue.ClaimOptions{Max: 10, Owner: "me"}
		},
		"destinations that another agent has postponed for all": func(h *held) queue.ClaimOptions {
			h.backlog(n, n, "big")
			if err := another(h.t, h.p, h.o).Postpone(h.t.Context(), h.now, postponed("")...); err != nil {
				h.t.Fatal(err)
			}
			return queue.ClaimOptions{Max: 10}
		},
		"one destination of very many tenants": func(h *held) queue.ClaimOptions {
			h.make(n, "t", "'d0.example'", "'t' || g")
			return queue.ClaimOptions{Max: 10, Except: names(1)}
		},
		"one destination with very many messages": func(h *held) queue.ClaimOptions {
			h.backlog(n, 1, "big")
			return queue.ClaimOptions{Max: 10, Except: names(1)}
		},
		"very many tenants": func(h *held) queue.ClaimOptions {
			h.make(n, "t", "'d' || g || '.example'", "'t' || g")
			want := queue.ClaimOptions{Max: 10, ExceptTenants: []string{"t"}}
			for i := range n {
				want.ExceptTenants = append(want.ExceptTenants, "t"+strconv.Itoa(i))
			}
			return want
		},
		"some for their destinations, the others for their tenants": func(h *held) queue.ClaimOptions {
			h.make(n, "t", "'d' || g % 100 || '.example'", "'t' || g % 7")
			return queue.ClaimOptions{Max: 10, Except: names(50), ExceptTenants: []string{"t", "t0", "t1", "t2", "t3", "t4", "t5", "t6"}}
		},
		"leases of another agent": func(h *held) queue.ClaimOptions {
			h.backlog(n, n, "big")
			b := another(h.t, h.p, h.o)
			for had := 0; had < n; {
				got, err := b.Claim(h.t.Context(), h.now, queue.ClaimOptions{Max: 500, Lease: 24 * time.Hour})
				if err != nil {
					h.t.Fatal(err)
				}
				had += len(got.Deliveries)
			}
			return queue.ClaimOptions{Max: 10}
		},
		"the bound of a destination": func(h *held) queue.ClaimOptions {
			h.make(n, "t", "'d0.example'", "'t' || g")
			return queue.ClaimOptions{Max: 10, PerDestination: 2}
		},
		"the bounds of a few destinations and tenants": func(h *held) queue.ClaimOptions {
			h.make(n, "t", "'d' || g % 3 || '.example'", "'t' || g % 400")
			return queue.ClaimOptions{Max: 10, PerDestination: 2, PerTenant: 2}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := e.held(t)
			want := prepare(h)
			h.vacuum()
			t.Log(h.untilBy(want, "a@first.example", e.soon()))
			for i := range 5 {
				h.untilBy(want, fmt.Sprintf("a@other%d.example", i), 4)
			}
		})
	}
}

// What claims have left out is claimed when they admit it: each destination in order, and
// all of it.
func TestWhatWasLeftOutIsClaimed(t *testing.T) {
	e := excludedSizes()
	const lanes = 100
	all := names(e.many)[:lanes]
	// drain claims until nothing is left, and fails if what is for one destination is not in order.
	drain := func(h *held, each func(turn int) queue.ClaimOptions) {
		h.t.Helper()
		last := make(map[string]string)
		had := 0
		for turn := 0; had < e.many; turn++ {
			got, err := h.q.Claim(h.t.Context(), h.now, each(turn))
			if err != nil {
				h.t.Fatal(err)
			}
			for _, d := range got.Deliveries {
				lane := d.Message.Tenant + " " + d.Lease.Destination
				if d.Message.Tenant == "big" {
					had++
				}
				if d.Lease.Message <= last[lane] {
					h.t.Fatalf("%s for %s comes after %s", d.Lease.Message, d.Lease.Destination, last[lane])
				}
				last[lane] = d.Lease.Message
			}
			h.settle(got.Deliveries, queue.Delivered, time.Time{})
			h.now = h.now.Add(10 * time.Millisecond)
			if turn > e.many {
				h.t.Fatalf("after %d claims there is more than the %d of %d messages that were claimed", turn, had, e.many)
			}
		}
	}
	begin := func(t *testing.T, want queue.ClaimOptions) *held {
		h := e.held(t)
		h.backlog(e.many, lanes, "big")
		h.vacuum()
		h.untilBy(want, "a@first.example", e.soon())
		return h
	}
	t.Run("all at once", func(t *testing.T) {
		h := begin(t, queue.ClaimOptions{Max: 10, Except: all})
		h.put(lanes, lanes)
		h.untilBy(queue.ClaimOptions{Max: 10, Except: all}, "a@first.example", 4)
		drain(h, func(int) queue.ClaimOptions { return queue.ClaimOptions{Max: 10} })
	})
	t.Run("their tenant", func(t *testing.T) {
		h := begin(t, queue.ClaimOptions{Max: 10, ExceptTenants: []string{"big"}})
		drain(h, func(int) queue.ClaimOptions { return queue.ClaimOptions{Max: 10} })
	})
	t.Run("one after the other", func(t *testing.T) {
		h := begin(t, queue.ClaimOptions{Max: 10, Except: all})
		drain(h, func(turn int) queue.ClaimOptions {
			return queue.ClaimOptions{Max: 10, Except: all[:max(0, lanes-turn)]}
		})
	})
	t.Run("a claim that names them", func(t *testing.T) {
		h := begin(t, queue.ClaimOptions{Max: 10, Except: all})
		drain(h, func(turn int) queue.ClaimOptions { return queue.ClaimOptions{Destinations: all} })
	})
	t.Run("by two owners that postpone what the other does not", func(t *testing.T) {
		h := begin(t, queue.ClaimOptions{Max: 10, Except: all})
		for i, name := range all {
			p := queue.Postponement{Destination: name, Until: h.now.Add(24 * time.Hour), Owner: strconv.Itoa(i % 2)}
			if err := h.q.Postpone(t.Context(), h.now, p); err != nil {
				t.Fatal(err)
			}
		}
		drain(h, func(turn int) queue.ClaimOptions { return queue.ClaimOptions{Max: 10, Owner: strconv.Itoa(turn % 2)} })
	})
	t.Run("beside mail that comes all the time", func(t *testing.T) {
		h := begin(t, queue.ClaimOptions{Max: 10, Except: all})
		drain(h, func(int) queue.ClaimOptions {
			for i := range 4 {
				m := mail("text", fmt.Sprintf("a@x%d.example", i))
				if _, err := h.q.Put(t.Context(), h.now, m); err != nil {
					t.Fatal(err)
				}
			}
			return queue.ClaimOptions{Max: 10}
		})
	})
}
