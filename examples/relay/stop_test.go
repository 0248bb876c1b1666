package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestStopBesideImpoliteHosts: a relay that is told to stop has ended after 30 s, though
// one host does not answer QUIT and, at full size, another not the content.
func TestStopBesideImpoliteHosts(t *testing.T) {
	w := newWorld(t, zone)
	com, two := modern("mail.example.com"), modern("mail.two.example")
	if os.Getenv("NEXTHOP_LONG") != "" {
		com.Script = []smtptest.Cue{{At: smtptest.Final, Then: smtptest.Stall}}
	}
	two.Script = []smtptest.Cue{{At: smtptest.Quit, Then: smtptest.Stall}}
	w.start("127.0.0.2", com)
	w.start("127.0.0.5", two)
	r := w.relay("-queue", t.TempDir())
	client := r.client("127.0.0.1")
	for _, to := range []string{"b@example.com", "c@two.example"} {
		if _, err := submit(t, client, "stop", to); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "one has its message, and the other all of it", func() bool {
		return slices.Contains(subjects(two), "stop") && strings.Contains(strings.Join(com.Commands(), " "), "LAST")
	})
	r.stop() // within 30 s
}
