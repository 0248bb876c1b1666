package disk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
	"github.com/nexthop-mail/nexthop/queue/queuetest"
)

func BenchmarkQueue(b *testing.B) {
	queuetest.Bench(b, queuetest.Subject{Open: func() (*queuetest.Instance, error) {
		s, err := Open(b.TempDir(), Options{})
		return &queuetest.Instance{Queue: s}, err
	}})
}

// BenchmarkDevice appends what 64 Puts of 4 KiB append, in one write and one
// fdatasync, with nothing around it: what the device gives at best.
func BenchmarkDevice(b *testing.B) {
	const writers, size = 64, 4 << 10
	for _, group := range []int{1, writers} {
		b.Run(map[int]string{1: "writers=1", writers: "writers=64"}[group], func(b *testing.B) {
			fs := vfs.OS(b.TempDir())
			f, err := fs.Create("raw")
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			buf := make([]byte, group*(size+400)) // and what the records take
			off, done := int64(0), 0
			for b.Loop() {
				if done++; done%group != 0 {
					continue
				}
				if _, err := f.WriteAt(buf, off); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				if off += int64(len(buf)); off > DefaultSegmentSize {
					off = 0
					if err := f.Truncate(0); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
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
