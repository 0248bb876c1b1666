package disk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// scaleJob names the environment variable that makes this test binary a process
// that is measured: what it has to do, as JSON.
const scaleJob = "NEXTHOP_DISK_SCALE"

// job is what a measured process does: it fills a spool and dies, or opens one.
type job struct {
	Do       string // "fill" or "open"
	Dir      string
	Messages int
	Size     int
	Attempt  bool // each message is claimed and deferred once
}

// measured is what a process found.
type measured struct {
	Open, Claim, Page time.Duration
	PageCPU           time.Duration // processor time
	CPU               time.Duration // of the whole process
	Peak              int64         // resident, in bytes; 0 where the system does not tell
	Messages          int
	Fill              time.Duration
}

var scaleNow = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestManyDeferred(t *testing.T) {
	if text := os.Getenv(scaleJob); text != "" {
		var j job
		if err := json.Unmarshal([]byte(text), &j); err != nil {
			t.Fatal(err)
		}
		j.run(t)
		return
	}
	n := 20_000
	if long() {
		n = 1_000_000
	}
	dir := t.TempDir()
	filled := run(t, job{"fill", dir, n, 4 << 10, true})
	got := run(t, job{"open", dir, n, 0, false})
	t.Logf("%d messages of 4 KiB, deferred: filled in %v at a peak of %d MiB; opened and first claim in %v, a page of 100 in %v, %v of processor time, peak %d MiB, %d MiB on disk",
		n, filled.Fill, filled.Peak>>20, got.Open+got.Claim, got.Page, got.CPU, got.Peak>>20, dirSize(t, dir)>>20)
	if got.Messages != n {
		t.Errorf("%d messages are there, want %d", got.Messages, n)
	}
	slower, larger := raceCost()
	if most := time.Duration(slower) * time.Second; got.CPU > 3*most || got.PageCPU > most/20 { // which depends little on what else runs
		t.Errorf("opening, a claim and a page took %v of processor time, and the page %v of that, want at most 3s and 50ms", got.CPU, got.PageCPU)
	}
	if max(got.Peak, filled.Peak) > larger*200<<20 { // twice what is in use, and what a fast device adds before that is collected
		t.Error("want at most 200 MiB resident")
	}
}

// TestTenMillion is the backlog that must fit a machine with 1 GiB.
func TestTenMillion(t *testing.T) {
	n := 50_000
	if long() {
		n = 10_000_000
	}
	dir := t.TempDir()
	if os.Getenv(scaleJob) != "" {
		return
	}
	filled := run(t, job{"fill", dir, n, 100, false})
	got := run(t, job{"open", dir, n, 0, false})
	t.Logf("%d messages of 100 bytes: filled in %v at a peak of %d MiB; opened and first claim in %v, a page in %v, peak %d MiB, %d MiB on disk",
		n, filled.Fill, filled.Peak>>20, got.Open+got.Claim, got.Page, got.Peak>>20, dirSize(t, dir)>>20)
	if got.Messages != n {
		t.Errorf("%d messages are there, want %d", got.Messages, n)
	}
	if _, larger := raceCost(); max(got.Peak, filled.Peak) > larger<<30 {
		t.Error("want at most 1 GiB resident")
	}
}

// raceCost is how many times the processor time and the memory a program may need because
// of the race detector: once if it does not have that.
func raceCost() (slower, larger int64) {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 12, 5
	}
	return 1, 1
}

func run(t *testing.T, j job) measured {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestManyDeferred$", "-test.timeout=2h")
	cmd.Env = append(os.Environ(), "GOGC=100", scaleJob+"="+string(text)) // as a program runs, not as tests may
	out, _ := cmd.Output()                                                // the process ends by a kill
	var m measured
	line, _, _ := bytes.Cut(out, []byte("\n"))
	if err := json.Unmarshal(line, &m); err != nil {
		t.Fatalf("%s: %s: %v", j.Do, out, err)
	}
	m.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return m
}

func (j job) run(t *testing.T) {
	var m measured
	if j.Do == "fill" {
		m.Fill = j.fill(t)
	} else {
		m = j.open(t)
	}
	m.Peak = peak()
	line, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(line))
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill() // as a machine dies: nothing is closed
	}
	t.Fatal(err)
}

func (j job) fill(t *testing.T) time.Duration {
	s, err := Open(j.Dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	later := scaleNow.Add(time.Hour)
	content := queue.Bytes(make([]byte, j.Size))
	const writers = 64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < j.Messages; i += writers {
				m := &queue.Message{From: "sender@example.org", Content: content,
					Recipients: []queue.Recipient{{Address: "someone@d" + strconv.Itoa(i%1000) + ".example"}}}
				if !j.Attempt {
					m.NotBefore = later.Add(time.Duration(i) * time.Millisecond)
				}
				if _, err := s.Put(context.Background(), scaleNow, m); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for j.Attempt {
		c, err := s.Claim(context.Background(), scaleNow, queue.ClaimOptions{Max: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Deliveries) == 0 {
			break
		}
		deferAll(t, s, c.Deliveries, later)
	}
	return time.Since(start)
}

func deferAll(t *testing.T, s *Spool, list []queue.Delivery, later time.Time) {
	var batch []queue.Settlement
	for i, d := range list {
		batch = append(batch, queue.Settlement{Lease: d.Lease, NotBefore: later.Add(time.Duration(i) * time.Millisecond),
			Results: []queue.Result{{Reply: queue.Reply{Host: "mx.example", Addr: "192.0.2.1", Code: 451, Enhanced: "4.7.1", Text: "try again later"}}}})
	}
	done, err := s.Settle(context.Background(), scaleNow, batch)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range done {
		if d.Err != nil {
			t.Fatal(d.Err)
		}
	}
}

func (j job) open(t *testing.T) (m measured) {
	ctx := context.Background()
	start := time.Now()
	s, err := Open(j.Dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m.Open = time.Since(start)
	start = time.Now()
	c, err := s.Claim(ctx, scaleNow.Add(10*24*time.Hour), queue.ClaimOptions{Max: 1})
	if err != nil || len(c.Deliveries) != 1 {
		t.Fatalf("claimed %d, %v", len(c.Deliveries), err)
	}
	m.Claim = time.Since(start)
	total, err := s.Total(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m.Messages = total.Messages
	middle := formatID(uint64(j.Messages/2) << 4)
	runtime.LockOSThread() // so that the thread's time is that of the page
	defer runtime.UnlockOSThread()
	start = time.Now()
	begun, _ := threadTime()
	page, err := s.List(ctx, queue.ListOptions{After: middle, Max: 100})
	ended, _ := threadTime()
	if err != nil || len(page.Entries) != 100 {
		t.Fatalf("a page of %d, %v", len(page.Entries), err)
	}
	m.Page, m.PageCPU = time.Since(start), ended-begun
	return m
}

// peak is the most memory the process ever had resident.
func peak() int64 {
	if runtime.GOOS != "linux" {
		return 0
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
