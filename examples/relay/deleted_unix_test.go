//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestQueueDeleted: a relay whose queue somebody deletes takes no more mail, says why, and
// still delivers what it has.
func TestQueueDeleted(t *testing.T) {
	w := newWorld(t, zone)
	dir := filepath.Join(t.TempDir(), "queue")
	r := w.relay("-queue", dir, "-retry", "50ms")
	client := r.client("127.0.0.1")
	if _, err := submit(t, client, "before", "b@example.com"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		report, err := submit(t, client, "after", "b@example.com")
		if err == nil || report.Recipients[0].Reply.Code != 451 {
			t.Errorf("%v, want 451", err)
		}
	}
	com := modern("mail.example.com")
	w.start("127.0.0.2", com)
	eventually(t, "what it has arrives", func() bool { return len(com.Messages()) > 0 })
	if got := subjects(com); got[0] != "before" {
		t.Errorf("%q has arrived", got)
	}
	r.stop()
	if n := strings.Count(r.errs.String(), "relay: -queue: disk: the files of the spool have been deleted"); n != 1 {
		t.Errorf("it complains %d times, want once: %s", n, r.errs.String())
	}
}
