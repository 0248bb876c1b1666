package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
)

// TestKilledBeforeTheListIsWritten: the program is killed after a mailbox turned out not
// to exist, and before it has written that to its list. The next run learns it from the
// spool.
func TestKilledBeforeTheListIsWritten(t *testing.T) {
	const in = "NEWSLETTER_SPOOL"
	w := newWorld(t, "gone@example.com", "bob@example.com")
	if spool := os.Getenv(in); spool != "" { // the run that is killed
		w.job.spool = spool
		w.job.subscribers = w.file("subscribers", "gone@example.com\n")
		w.job.events = func(e delivery.Event) {
			if !e.BadAddress() {
				return
			}
			if self, err := os.FindProcess(os.Getpid()); err == nil && self.Kill() == nil {
				select {}
			}
		}
		w.run(t.Context())
		return // not killed: the test that waits says so
	}
	killed := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	killed.Env = append(os.Environ(), in+"="+w.job.spool)
	if out, err := killed.CombinedOutput(); err == nil || strings.Contains(string(out), "delivered") {
		t.Fatalf("it was not killed: %v\n%s", err, out)
	}
	for range 2 {
		w.job.issue += "1"
		w.run(t.Context())
	}
	w.want("mail.example.com", "bob@example.com", "bob@example.com")
	w.said("(2/2")
	w.said("1 delivered, 0 failed, 0 not yet, 1 skipped; deferred 0 times")
	list, err := os.ReadFile(w.job.suppressed)
	if err != nil || strings.Count(string(list), "gone@example.com\n") != 1 || strings.Count(string(list), "\n# complete for ") != 3 {
		t.Errorf("the list is %q, %v, want gone@example.com there once, and a position after each reading", list, err)
	}
	// Who takes an address off the list wants it tried again.
	if err := os.WriteFile(w.job.suppressed, []byte(strings.Replace(string(list), "gone@example.com\n", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.job.issue += "1"
	w.run(t.Context())
	w.said("1 delivered, 1 failed, 0 not yet, 0 skipped")
}
