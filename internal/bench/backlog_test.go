//go:build linux

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// compareBacklog starts the relay on a million deferred messages and one that is
// due.
func compareBacklog(t *testing.T, to *table, _ candidate) {
	const messages = 1_000_000
	dir := diskFolder(t)
	fill(t, filepath.Join(dir, "queue"), messages)
	sink := startSink(t)
	began := time.Now()
	relay := relayOn(t, dir, settings{})
	arrivals, err := sink.await(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	// A while of ordinary work on top of the backlog.
	if _, err := smtpSource(t.Context(), relayAddr, sessions, 5000, size, "user@"+oneDomain); err != nil {
		t.Fatal(err)
	}
	if _, err := sink.await(t.Context(), 5001); err != nil {
		t.Fatal(err)
	}
	pids, err := relay.pids()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("%d deferred messages", messages)
	to.add(name, "s to the first delivery", nexthop, arrivals[0].Sub(began).Seconds(), atMost(1))
	to.add(name, "MB resident at most", nexthop, peakMemory(t, pids[0]), atMost(300))
}

// peakMemory is the most a process has had resident, in millions of octets.
func peakMemory(t *testing.T, pid int) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	field, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, err := strconv.Atoi(field)
	if err != nil {
		t.Fatalf("the peak of memory: %v", err)
	}
	return float64(kib) * 1024 / 1e6
}

// fill puts messages into a spool, tries each in vain, and puts one more that is
// due.
func fill(t *testing.T, dir string, messages int) {
	t.Helper()
	spool, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := spool.Close(); err != nil {
			t.Error(err)
		}
	}()
	text := queue.Bytes(Content(4 << 10))
	put := func(n int) error {
		m := &queue.Message{From: "sender@from.test", Content: text,
			Recipients: []queue.Recipient{{Address: "user@" + domain(n%domains)}}}
		_, err := spool.Put(t.Context(), time.Now(), m)
		return err
	}
	var next atomic.Int64
	var failure atomic.Value
	var putting sync.WaitGroup
	for range 256 {
		putting.Go(func() {
			for n := int(next.Add(1)); n <= messages; n = int(next.Add(1)) {
				if err := put(n); err != nil {
					failure.Store(err)
					return
				}
			}
		})
	}
	putting.Wait()
	if err := failure.Load(); err != nil {
		t.Fatal(err)
	}
	deferAll(t, spool, messages)
	if err := put(0); err != nil {
		t.Fatal(err)
	}
}

// deferAll settles everything that is due: try again in a day.
func deferAll(t *testing.T, spool *disk.Spool, messages int) {
	t.Helper()
	for deferred := 0; deferred < messages; {
		now := time.Now()
		claimed, err := spool.Claim(t.Context(), now, queue.ClaimOptions{Max: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(claimed.Deliveries) == 0 {
			t.Fatalf("%d of %d messages could be claimed", deferred, messages)
		}
		var batch []queue.Settlement
		for _, d := range claimed.Deliveries {
			batch = append(batch, queue.Settlement{Lease: d.Lease, NotBefore: now.Add(24 * time.Hour), Results: []queue.Result{
				{Outcome: queue.Deferred, Reply: queue.Reply{Code: 451, Enhanced: "4.7.1", Text: "try again later"}},
			}})
		}
		settled, err := spool.Settle(t.Context(), now, batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range settled {
			if s.Err != nil {
				t.Fatal(s.Err)
			}
		}
		deferred += len(batch)
	}
}
