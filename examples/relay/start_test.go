package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// fillQueue makes a queue of messages that are deferred until tomorrow, and some that are due
// for one domain.
func fillQueue(t *testing.T, dir string, deferred, due int) {
	t.Helper()
	q, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	put := func(n int, to func(i int) string) {
		var next atomic.Int64
		var putting sync.WaitGroup
		for range 500 { // which share the writes to the disk
			putting.Go(func() {
				for i := next.Add(1); i <= int64(n); i = next.Add(1) {
					m := &queue.Message{
						From: "alice@example.org", Recipients: []queue.Recipient{{Address: to(int(i))}},
						Content: queue.String(fmt.Sprintf("Subject: %s %d\r\n\r\ntext\r\n", to(int(i)), i)),
					}
					if _, err := q.Put(t.Context(), time.Now(), m); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		putting.Wait()
	}
	put(deferred, func(i int) string { return fmt.Sprintf("u@later%d.example", i%1000) })
	for left := deferred; left > 0; {
		now := time.Now()
		got, err := q.Claim(t.Context(), now, queue.ClaimOptions{Max: 1000})
		if err != nil || len(got.Deliveries) == 0 {
			t.Fatalf("%d are left to defer: %v", left, err)
		}
		var batch []queue.Settlement
		for i := range got.Deliveries {
			d := &got.Deliveries[i]
			batch = append(batch, queue.Settlement{Lease: d.Lease, NotBefore: now.Add(24 * time.Hour), Results: []queue.Result{
				{Recipient: d.States[0].Index, Outcome: queue.Deferred, Reply: queue.Reply{Code: 451, Enhanced: "4.7.1"}},
			}})
		}
		if _, err := q.Settle(t.Context(), now, batch); err != nil {
			t.Fatal(err)
		}
		left -= len(batch)
	}
	put(due, func(int) string { return "b@example.com" })
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// start is what is seen of a start.
type start struct {
	listens, begins time.Duration // after the program was started
	rate            int           // messages in the best of three seconds, from three seconds after that
}

// watchStart starts a relay on a queue and watches what arrives.
func watchStart(t *testing.T, w *world, host *smtptest.Host, binary, dir string) (*process, start) {
	t.Helper()
	var seen start
	before := len(host.Connections())
	began := time.Now()
	begins := make(chan time.Duration, 1)
	go func() {
		for len(host.Connections()) == before && time.Since(began) < soon {
			<-time.After(2 * time.Millisecond)
		}
		begins <- time.Since(began)
	}()
	p := &process{t: t}
	p.launch(exec.Command(binary, "-listen", "127.0.0.1:0", "-dns", w.dns.Addr(), "-port", w.port, "-loopback",
		"-helo", "relay.example.net", "-queue", dir, "-concurrency", "4"))
	seen.listens = time.Since(began)
	seen.begins = <-begins
	<-time.After(3*time.Second - time.Since(began))
	for range 3 { // of which the best counts
		first := len(host.Messages())
		<-time.After(time.Second)
		seen.rate = max(seen.rate, len(host.Messages())-first)
	}
	return p, seen
}

// TestStartWithABacklog: however many messages are deferred, and however the last process
// ended, the first delivery that is due begins within a second of the program's start and
// half a second of its queue's, and three seconds after the start mail goes out at the rate
// it did. With NEXTHOP_LONG there are 100,000 messages and 1,000,000, and the program is
// built without the race detector.
func TestStartWithABacklog(t *testing.T) {
	sizes, tries, slack, binary := []int{2000}, 1, 10*time.Second, os.Getenv("RELAY_BINARY")
	if os.Getenv("NEXTHOP_LONG") != "" {
		sizes, tries, slack, binary = []int{100_000, 1_000_000}, 3, 0, filepath.Join(t.TempDir(), "relay")
		if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, n := range sizes {
		w := newWorld(t, zone)
		host := modern("mail.example.com")
		host.Script = []smtptest.Cue{{At: smtptest.Final, Delay: 20 * time.Millisecond}}
		w.start("127.0.0.2", host)
		dir := t.TempDir()
		fillQueue(t, dir, n, 9000)
		p, first := watchStart(t, w, host, binary, dir)
		t.Logf("with %d deferred it first listens after %v and begins after %v", n, first.listens, first.begins)
		for _, end := range []string{"SIGTERM", "kill -9"} {
			var seen start
			for range tries { // the best of them: others may be at work on this machine
				if end == "SIGTERM" {
					p.stop()
				} else {
					p.kill()
				}
				var again start
				if p, again = watchStart(t, w, host, binary, dir); seen.begins == 0 || again.begins < seen.begins {
					seen.listens, seen.begins = again.listens, again.begins
				}
				seen.rate = max(seen.rate, again.rate)
			}
			t.Run("QUE-5 "+strconv.Itoa(n)+" deferred, after "+end, func(t *testing.T) {
				t.Logf("listens after %v, begins after %v; %d a second, %d before", seen.listens, seen.begins, seen.rate, first.rate)
				if seen.begins > time.Second+slack || seen.begins-seen.listens > 500*time.Millisecond+slack {
					t.Errorf("the first delivery begins %v after the start, %v after the queue is open", seen.begins, seen.begins-seen.listens)
				}
				if least := first.rate * 9 / 10; slack == 0 && (first.rate < 100 || seen.rate < least) || seen.rate == 0 {
					t.Errorf("%d messages a second three seconds after the start, want the %d of before", seen.rate, first.rate)
				}
			})
		}
		p.kill()
	}
}
