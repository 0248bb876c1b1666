package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/queue"
)

// load is clients that submit one message after the other, each once.
type load struct {
	t    *testing.T
	next atomic.Int64 // numbers messages

	mu       sync.Mutex
	accepted map[string]bool // subjects of what was answered 250
	refused  map[int]int     // other answers by code, 0 for none
}

func newLoad(t *testing.T) *load {
	return &load{t: t, accepted: map[string]bool{}, refused: map[int]int{}}
}

// run has clients at work on a relay until stop is closed or everyone has sent most
// messages (0 is any number).
func (l *load) run(addr netip.AddrPort, clients, most int, stop <-chan struct{}) {
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			s := &delivery.Sender{Hello: "client.example.org", Router: handOver(addr), MaxConnections: 2}
			defer s.Close()
			for n := 0; most == 0 || n < most; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if !l.one(s) {
					<-time.After(5 * time.Millisecond) // the relay is gone or going
				}
			}
		})
	}
	all.Wait()
}

// one submits a message, and says whether it was taken.
func (l *load) one(s *delivery.Sender) bool {
	name := "m" + strconv.FormatInt(l.next.Add(1), 10)
	report, err := s.Send(l.t.Context(), &queue.Message{
		From: "alice@example.org", Recipients: []queue.Recipient{{Address: "b@example.com"}},
		Content: queue.String("Subject: " + name + "\r\n\r\n" + fmt.Sprintf("%01000d\r\n%0900d\r\n", 0, 0)[3:]),
		// A client that hears nothing must not say it twice: what is counted twice is the relay's doing.
		Guarantee: queue.AtMostOnce,
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.accepted[name] = true
		return true
	}
	l.refused[report.Recipients[0].Reply.Code]++
	return false
}

// arrived counts what a host has taken, by subject.
func arrived(h *smtptest.Host) map[string]int {
	n := map[string]int{}
	for _, s := range subjects(h) {
		n[s]++
	}
	return n
}

// missing is what was answered 250 and has not arrived.
func (l *load) missing(h *smtptest.Host) (list []string) {
	there := arrived(h)
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.accepted {
		if there[name] == 0 {
			list = append(list, name)
		}
	}
	return list
}

// twice is how many copies more arrived than messages.
func twice(h *smtptest.Host) (n int) {
	for _, copies := range arrived(h) {
		n += copies - 1
	}
	return n
}

// lives is how often the relay is killed.
func lives() int {
	if os.Getenv("NEXTHOP_LONG") != "" {
		return 200
	}
	return 20
}

// TestKill kills a relay under load, again and again, at any moment. What it answered
// 250 arrives all the same; twice only what was on the way when it died: for each
// connection one message that is being sent, and a few whose end is being noted.
func TestKill(t *testing.T) {
	const concurrency = 5
	w := newWorld(t, zone)
	com := modern("mail.example.com")
	w.start("127.0.0.2", com)
	dir := t.TempDir()
	l := newLoad(t)
	for range lives() {
		r := w.relay("-queue", dir, "-retry", "50ms", "-concurrency", strconv.Itoa(concurrency))
		stop := make(chan struct{})
		var loading sync.WaitGroup
		loading.Go(func() { l.run(r.addr, 8, 0, stop) })
		before := len(l.all())
		eventually(t, "it takes mail", func() bool { return len(l.all()) > before })
		<-time.After(time.Duration(rand.IntN(150)) * time.Millisecond)
		r.kill()
		close(stop)
		loading.Wait()
	}
	r := w.relay("-queue", dir, "-retry", "50ms")
	eventually(t, "all that was answered 250 arrives", func() bool { return len(l.missing(com)) == 0 })
	eventually(t, "the queue is empty", func() bool { out, _, code := queueCommand(dir, "list"); return code == 0 && out == "" })
	r.stop()
	again := twice(com)
	t.Logf("%d lives, %d messages answered 250, %d arrived twice", lives(), len(l.all()), again)
	if most := 4 * concurrency * lives(); again > most {
		t.Errorf("%d messages arrived twice, want at most the %d that can have been on the way", again, most)
	}
}

// all are the subjects answered 250.
func (l *load) all() (list []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.accepted {
		list = append(list, name)
	}
	return list
}

// TestTerminate stops a relay under load, time after time: it ends in good order,
// nothing is lost, and nothing arrives twice.
func TestTerminate(t *testing.T) {
	w := newWorld(t, zone)
	com := modern("mail.example.com")
	w.start("127.0.0.2", com)
	dir := t.TempDir()
	l := newLoad(t)
	for range 5 {
		r := w.relay("-queue", dir, "-retry", "50ms")
		stop := make(chan struct{})
		var loading sync.WaitGroup
		loading.Go(func() { l.run(r.addr, 8, 0, stop) })
		before := len(l.all())
		eventually(t, "it takes mail", func() bool { return len(l.all()) > before+20 })
		r.stop()
		close(stop)
		loading.Wait()
	}
	r := w.relay("-queue", dir, "-retry", "50ms")
	eventually(t, "all that was answered 250 arrives", func() bool { return len(l.missing(com)) == 0 })
	r.stop()
	t.Logf("%d messages answered 250, others: %v", len(l.all()), l.refused)
	if n := twice(com); n != 0 {
		t.Errorf("%d messages arrived twice", n)
	}
	if n := l.refused[250]; n != 0 {
		t.Errorf("%d refusals with 250", n)
	}
}
