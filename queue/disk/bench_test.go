package disk

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
	"github.com/nexthop-mail/nexthop/queue/queuetest"
)

func BenchmarkQueue(b *testing.B) {
	queuetest.Bench(b, queuetest.Implementation{Open: func() (*queuetest.Instance, error) {
		s, err := Open(b.TempDir(), Options{})
		return &queuetest.Instance{Queue: s}, err
	}})
}

// BenchmarkPutBesideDevice puts messages of 4 KiB from 64 callers and, by turns
// so that all meet the same weather, appends as many bytes to a file in one
// write and one fdatasync for each 64 messages: by one thread that does nothing
// else, which is the most that the device gives, and by 64 callers who each bring
// their bytes, wait, and are woken, which is the most that it gives to those.
func BenchmarkPutBesideDevice(b *testing.B) {
	const callers, turn, size = 64, 64 * 200, 4 << 10
	dir := b.TempDir()
	s, err := Open(filepath.Join(dir, "spool"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	raw := &rawLog{fs: vfs.OS(dir)}
	defer raw.close()
	m := &queue.Message{From: "sender@example.org", Content: queue.Bytes(noise(size)),
		Recipients: []queue.Recipient{{Address: "someone@destination.example"}}}
	var puts, appends, together time.Duration
	bytes := int64(0)
	b.ResetTimer()
	for done := 0; done < b.N; done += turn {
		n := min(turn, b.N-done)
		before := s.logSize()
		begun := time.Now()
		putAll(b, s, m, callers, n)
		puts += time.Since(begun)
		bytes = (s.logSize() - before) / int64(n)
		block := noise(int(bytes) * callers)
		begun = time.Now()
		for left := n; left > 0; left -= callers {
			if err := raw.append(block[:int(bytes)*min(left, callers)]); err != nil {
				b.Fatal(err)
			}
		}
		appends += time.Since(begun)
		begun = time.Now()
		raw.appendTogether(b, callers, (n+callers-1)/callers, int(bytes))
		together += time.Since(begun)
	}
	b.StopTimer()
	b.ReportMetric(float64(bytes), "B/msg")
	b.ReportMetric(float64(b.N)/puts.Seconds(), "puts/s")
	b.ReportMetric(float64(b.N)/appends.Seconds(), "appends/s")
	b.ReportMetric(100*appends.Seconds()/puts.Seconds(), "%-of-device")
	b.ReportMetric(100*together.Seconds()/puts.Seconds(), "%-of-callers")
}

func putAll(b *testing.B, s *Spool, m *queue.Message, callers, n int) {
	var group sync.WaitGroup
	var next atomic.Int64
	for range callers {
		group.Go(func() {
			for next.Add(1) <= int64(n) {
				if _, err := s.Put(context.Background(), time.Unix(1e9, 0), m); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// logSize is how long all segments are.
func (s *Spool) logSize() (size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments.list {
		if g != nil {
			size += g.size
		}
	}
	return size
}

// noise is bytes that no device can make shorter.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// rawLog appends to files that get as long as a spool's.
type rawLog struct {
	fs    vfs.FS
	file  vfs.File
	size  int64
	files int
}

func (r *rawLog) append(p []byte) error {
	if r.file == nil || r.size+int64(len(p)) > DefaultSegmentSize {
		r.close()
		f, err := r.fs.Create(fmt.Sprintf("raw-%d", r.files))
		if err != nil {
			return err
		}
		r.file, r.size, r.files = f, 0, r.files+1
		if err := r.fs.SyncDir(); err != nil {
			return err
		}
	}
	if _, err := r.file.WriteAt(p, r.size); err != nil {
		return err
	}
	r.size += int64(len(p))
	return r.file.Sync()
}

// appendTogether has callers append so many bytes each, round by round: whoever
// brings the last writes for all, and nobody comes again before that is saved.
func (r *rawLog) appendTogether(b *testing.B, callers, rounds, size int) {
	var mu sync.Mutex
	block, own := make([]byte, callers*size), noise(size)
	come, brought, saved := 0, 0, make(chan struct{})
	bring := func() {
		mu.Lock()
		place, round := come, saved
		come++
		mu.Unlock()
		copy(block[place*size:], own)
		mu.Lock()
		brought++
		last := brought == callers
		if last {
			come, brought, saved = 0, 0, make(chan struct{})
		}
		mu.Unlock()
		if !last {
			<-round
			return
		}
		if err := r.append(block); err != nil {
			b.Error(err)
		}
		close(round)
	}
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for range rounds {
				bring()
			}
		})
	}
	group.Wait()
}

func (r *rawLog) close() {
	if r.file != nil {
		_ = r.file.Close()
	}
}

// dirSize is how many bytes the files of a directory have.
func dirSize(t testing.TB, dir string) (size int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil {
			size += info.Size()
		}
	}
	return size
}
