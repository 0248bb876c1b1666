package disk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// killDir names the environment variable that makes this test binary the
// process to be killed.
const killDir = "NEXTHOP_DISK_KILL_DIR"

// TestKill starts this program again as a process that puts and settles from 64
// goroutines, kills it at a random moment, and compares what it was told with
// what is there. The spool goes on from one process to the next. How long a process
// lives is counted in messages, so that a slow machine does as much as a fast one.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		putAndSettle(dir)
		return
	}
	rounds := 20
	if long() {
		rounds = 200
	}
	dir := t.TempDir()
	l := &ledger{state: map[string]string{}}
	for round := range rounds {
		if err := l.run(dir, 100+rand.IntN(900)); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := l.compare(dir); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	t.Logf("%d processes killed, %d messages put, %d settled, nothing lost", rounds, l.puts, l.settled)
}

// putAndSettle is the process to be killed. It says what it is about to do and
// what it was told, a line each: "try TEXT", "put ID TEXT", "settle ID",
// "settled ID". A line is written in one piece, so that none is torn.
func putAndSettle(dir string) {
	s, err := Open(dir, Options{SegmentSize: 1 << 20, LargeContent: 32 << 10})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ctx := context.Background()
	var out sync.Mutex
	say := func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Fprintf(os.Stdout, format+"\n", args...)
	}
	for worker := range 64 {
		go func() {
			for n := 0; ; n++ {
				if worker%2 == 0 {
					text := fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, n)
					say("try %s", text)
					id, err := s.Put(ctx, now, killMessage(text))
					if err != nil {
						say("error %v", err)
						return
					}
					say("put %s %s", id, text)
					continue
				}
				if err := settleSome(ctx, s, now, say); err != nil {
					say("error %v", err)
					return
				}
			}
		}()
	}
	select {}
}

func settleSome(ctx context.Context, s *Spool, now time.Time, say func(string, ...any)) error {
	c, err := s.Claim(ctx, now, queue.ClaimOptions{Max: 3})
	if err != nil || len(c.Unreadable) > 0 {
		return fmt.Errorf("claim: %v %v", err, c.Unreadable)
	}
	if len(c.Deliveries) == 0 {
		<-time.After(time.Millisecond)
		return nil
	}
	var batch []queue.Settlement
	for _, d := range c.Deliveries {
		outcome := queue.Delivered
		if d.Lease.Message[len(d.Lease.Message)-2]%4 == 0 {
			outcome = queue.Deferred
		} else {
			say("settle %s", d.Lease.Message)
		}
		batch = append(batch, queue.Settlement{Lease: d.Lease, NotBefore: now.Add(time.Hour),
			Results: []queue.Result{{Recipient: 0, Outcome: outcome}}})
	}
	done, err := s.Settle(ctx, now, batch)
	if err != nil {
		return err
	}
	for i, r := range done {
		if r.Err != nil {
			return r.Err
		}
		if batch[i].Results[0].Outcome == queue.Delivered {
			say("settled %s", batch[i].Lease.Message)
		}
	}
	return nil
}

// killMessage has a content that follows from its text, at times a large one.
func killMessage(text string) *queue.Message {
	size := 100
	if strings.HasSuffix(text, "7") {
		size = 4000
	}
	return &queue.Message{
		From:       "a@example.org",
		Recipients: []queue.Recipient{{Address: "b@d" + text[len(text)-1:] + ".example"}},
		Metadata:   map[string]string{"text": text},
		Content:    queue.String(strings.Repeat(text+"\n", size/10)),
	}
}

// ledger is what the processes said. A message is "tried" by its text, then
// "put", "settling" and "settled" by its id.
type ledger struct {
	state         map[string]string
	text          map[string]string
	tried         map[string]bool
	puts, settled int
}

// run has a process put so many messages and settle half as many, and kills it within
// the next 20 ms: not always right after an acknowledgement.
func (l *ledger) run(dir string, life int) error {
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if l.text == nil {
		l.text, l.tried = map[string]string{}, map[string]bool{}
	}
	var failed error
	lines := bufio.NewScanner(pipe)
	var timer *time.Timer
	puts, settled := l.puts+life, l.settled+life/2
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		switch {
		case f[0] == "try":
			l.tried[f[1]] = true
		case f[0] == "put":
			if l.state[f[1]] == "" { // or somebody has claimed it before this line
				l.state[f[1]] = "put"
			}
			l.text[f[1]] = f[2]
			l.puts++
		case f[0] == "settle" && l.state[f[1]] != "settled":
			l.state[f[1]] = "settling"
		case f[0] == "settled":
			l.state[f[1]] = "settled"
			l.settled++
		case f[0] == "error":
			failed = errors.New(lines.Text())
			_ = cmd.Process.Kill()
		}
		if timer == nil && l.puts >= puts && l.settled >= settled {
			timer = time.AfterFunc(rand.N(20*time.Millisecond), func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait()
	if timer == nil {
		return fmt.Errorf("the process ended with %d of %d messages put and %d of %d settled: %w",
			life+l.puts-puts, life, life/2+l.settled-settled, life/2, failed)
	}
	timer.Stop()
	return failed
}

// compare opens what the process left. A kill takes nothing from the system's
// memory, so that every settlement that was answered must stand too.
func (l *ledger) compare(dir string) error {
	s, err := Open(dir, Options{SegmentSize: 1 << 20})
	if err != nil {
		return err
	}
	defer s.Close()
	if len(s.problems) > 0 {
		return fmt.Errorf("damage: %v", s.problems)
	}
	ctx := context.Background()
	there := map[string]bool{}
	for next, more := "", true; more; more = next != "" {
		page, err := s.List(ctx, queue.ListOptions{After: next, Max: 1000})
		if err != nil || len(page.Unreadable) > 0 {
			return fmt.Errorf("list: %v, unreadable %v", err, page.Unreadable)
		}
		for _, e := range page.Entries {
			there[e.Message.ID] = true
			if err := l.entry(s, &e); err != nil {
				return err
			}
		}
		next = page.Next
	}
	for id, state := range l.state {
		switch {
		case state == "put" && !there[id]:
			return fmt.Errorf("%s was acknowledged and is gone", id)
		case state == "settled" && there[id]:
			return fmt.Errorf("%s was settled and came back", id)
		case state == "settling" && there[id]:
			l.state[id] = "put"
		case state == "settling":
			l.state[id] = "settled"
		}
	}
	return nil
}

func (l *ledger) entry(s *Spool, e *queue.Entry) error {
	id, text := e.Message.ID, e.Message.Metadata["text"]
	if l.text[id] == "" { // stored, and killed before it was acknowledged
		if !l.tried[text] {
			return fmt.Errorf("nobody put %s", id)
		}
		l.text[id] = text
	}
	if l.state[id] == "" {
		l.state[id] = "put"
	}
	content, err := readContent(s, id)
	if want := string(killMessage(text).Content.(queue.String)); err != nil || content != want || text != l.text[id] {
		return fmt.Errorf("the content of %s is not what was put: %v", id, err)
	}
	return nil
}
