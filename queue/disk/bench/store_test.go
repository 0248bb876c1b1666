package bench

import (
	"sync"
	"sync/atomic"
	"testing"
)

// stores are those measured, the simplest first.
func stores() map[string]func(dir string) (store, error) {
	return map[string]func(string) (store, error){
		"log": openLog, "spool": openSpool, "bbolt": openBolt, "sqlite": openSQLite, "files": openFiles,
	}
}

// TestStores lives through a few messages with each, so that what is measured
// works.
func TestStores(t *testing.T) {
	for name, open := range stores() {
		t.Run(name, func(t *testing.T) { lives(t, open, 200) })
	}
}

func BenchmarkLife(b *testing.B) {
	for _, name := range []string{"log", "spool", "bbolt", "sqlite", "files"} {
		b.Run(name, func(b *testing.B) {
			lives(b, stores()[name], b.N)
		})
	}
}

func lives(t testing.TB, open func(string) (store, error), n int) {
	s, err := open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 4<<10)
	if w, ok := s.(interface {
		wait(id uint64, data []byte) error
	}); ok {
		share(t, min(backlog, 10*n), func(i int) error { return w.wait(uint64(1<<40+i), data) })
	}
	before := cpuTime()
	b, measured := t.(*testing.B)
	if measured {
		b.ResetTimer()
	}
	share(t, n, func(i int) error { return s.life(uint64(i), data) })
	if measured {
		b.StopTimer()
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msgs/s")
		b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(n), "cpu-µs/msg")
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// share calls f with 1 to n from 64 goroutines.
func share(t testing.TB, n int, f func(i int) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if err := f(int(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
