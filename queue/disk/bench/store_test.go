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
			before := cpuTime()
			lives(b, stores()[name], b.N)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
			b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-µs/msg")
		})
	}
}

func lives(t testing.TB, open func(string) (store, error), n int) {
	s, err := open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 4<<10)
	var next atomic.Int64
	var wg sync.WaitGroup
	if b, ok := t.(*testing.B); ok {
		b.ResetTimer()
	}
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if err := s.life(uint64(i), data); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
