package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// peak is how many connections a host has had at once.
func peak(h *smtptest.Host) (most int) {
	type change struct {
		at  time.Time
		one int
	}
	var changes []change
	for _, c := range h.Connections() {
		changes = append(changes, change{c.Opened, 1})
		if !c.Closed.IsZero() {
			changes = append(changes, change{c.Closed, -1})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
	now := 0
	for _, c := range changes {
		now += c.one
		most = max(most, now)
	}
	return most
}

// TestRelaysShareLimits has two relays on one database, which together make no more
// connections to a site than the file of limits says.
func TestRelaysShareLimits(t *testing.T) {
	t.Parallel()
	server := newDatabase(t)
	w := newWorld(t, zone)
	host := modern("mail.example.com")
	host.Script = []smtptest.Cue{{At: smtptest.Content, Delay: 30 * time.Millisecond}}
	w.start("127.0.0.2", host)
	file := filepath.Join(t.TempDir(), "limits.json")
	replace(t, file, `{"rules": [{"match": {"domain": "example.com"}, "connections": 3, "shared": true}]}`)
	var relays []*process
	for i := range 2 {
		relays = append(relays, w.relay("-queue", server.URL(), "-limits", file, "-helo", fmt.Sprintf("relay%d.example.net", i), "-no-dane", "-no-mta-sts"))
	}
	const each = 60
	for i, p := range relays {
		client := p.client("127.0.0.1")
		for j := range each {
			if _, err := submit(t, client, fmt.Sprintf("%d-%d", i, j), "u@example.com"); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "all mail has arrived", func() bool { return len(host.Messages()) == len(relays)*each })
	for _, p := range relays {
		p.stop()
	}
	if most := peak(host); most > 3 {
		t.Errorf("%d connections at once, want 3 at most", most)
	}
	for i := range relays {
		hello := fmt.Sprintf("EHLO relay%d.example.net", i)
		if !slices.ContainsFunc(host.Connections(), func(c smtptest.Connection) bool {
			return slices.ContainsFunc(c.Lines, func(l smtptest.Line) bool { return l.Text == hello })
		}) {
			t.Errorf("relay %d has sent nothing", i)
		}
	}
}
