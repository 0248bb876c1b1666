package modeltest

import (
	"flag"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// TestMain makes the runs long enough for operations to meet. Whoever gives the
// flags decides.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"rapid.steps": "150", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

func TestMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		t.Repeat(rapid.StateMachineActions(newMachine(&memory.Queue{KeepOutcomes: kept}, nil)))
	})
}

// TestDisk has small files, so that everything that happens to them happens.
func TestDisk(t *testing.T) {
	o := disk.Options{SegmentSize: 16 << 10, LargeContent: 4 << 10, KeepOutcomes: kept}
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		open := func() (queue.Queue, error) { return disk.Open(dir, o) }
		q, err := open()
		if err != nil {
			rt.Fatal(err)
		}
		m := newMachine(q, open)
		defer func() {
			if err := queue.Close(m.q); err != nil {
				rt.Errorf("Close: %v", err)
			}
			if err := os.RemoveAll(dir); err != nil {
				rt.Errorf("%v", err)
			}
		}()
		rt.Repeat(rapid.StateMachineActions(m))
	})
}
