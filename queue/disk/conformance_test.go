package disk

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/record"
	"github.com/nexthop-mail/nexthop/queue/queuetest"
)

// small makes everything that happens seldom happen often.
func small() Options { return Options{SegmentSize: 16 << 10, LargeContent: 4 << 10, sector: 512} }

func TestQueueInDirectory(t *testing.T) {
	open := func(o Options) func() (*queuetest.Instance, error) {
		return func() (*queuetest.Instance, error) {
			dir := t.TempDir()
			s, err := Open(dir, o)
			if err != nil {
				return nil, err
			}
			return &queuetest.Instance{Queue: s, Reopen: func() (queue.Queue, error) { return Open(dir, o) }}, nil
		}
	}
	queuetest.Run(t, queuetest.Implementation{
		Open: open(Options{}), OpenBounded: open(Options{MaxMessages: 5}),
		KeepKeys: DefaultKeepKeys, OpenFewKeys: open(Options{MaxKeys: 64}),
		KeepOutcomes: time.Hour, OpenOutcomes: open(Options{KeepOutcomes: time.Hour}),
		OpenFewOutcomes: open(Options{KeepOutcomes: time.Hour, MaxOutcomes: 64}),
	})
}

// On a file system that loses power the same rules are held to across crashes
// and damage.
func TestQueueThatLosesPower(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
	}{{"as it comes", Options{}}, {"in small files", small()}} {
		t.Run(c.name, func(t *testing.T) {
			keeping := c.o
			keeping.KeepOutcomes = time.Hour
			queuetest.Run(t, queuetest.Implementation{
				Open: func() (*queuetest.Instance, error) { return openFragile(c.o) }, KeepKeys: DefaultKeepKeys,
				OpenOutcomes: func() (*queuetest.Instance, error) { return openFragile(keeping) }, KeepOutcomes: time.Hour,
			})
		})
	}
}

func openFragile(o Options) (*queuetest.Instance, error) {
	fs := crashfs.New(1)
	s, err := open(fs, o)
	if err != nil {
		return nil, err
	}
	return &queuetest.Instance{
		Queue: s,
		Reopen: func() (queue.Queue, error) {
			s, err = open(fs, o)
			return s, err
		},
		Crash: func() (queue.Queue, error) {
			old := s
			fs = fs.Restart()
			_ = old.Close() // ends its goroutines; its disk is gone
			s, err = open(fs, o)
			return s, err
		},
		Fail: func() error {
			fs.Inject(func(op crashfs.Op, _ string) error {
				if op == crashfs.OpSync {
					return syscall.EIO
				}
				return nil
			})
			_, err := s.Put(context.Background(), time.Unix(0, 0), &queue.Message{
				Recipients: []queue.Recipient{{Address: "a@failing.example"}}, Content: queue.String("text"),
			})
			fs.Inject(nil)
			if err == nil {
				return errors.New("the spool did not notice that its device failed")
			}
			return nil
		},
		Full: func(full bool) error {
			if !full {
				fs.SetDevice(crashfs.Device{})
				return nil
			}
			fs.SetDevice(crashfs.Device{Room: fs.Used() + 1})
			return nil
		},
		Damage: func(id string) error {
			damage(s, fs, id)
			return nil
		},
	}, nil
}

// damage flips bits in the envelope and the content of a message.
func damage(s *Spool, fs *crashfs.FS, id string) {
	number, _ := parseID(id)
	slots := s.slots(number)
	d, h, err := s.readDelivery(slots[0], number)
	if err != nil {
		return
	}
	s.unpin(h.segment)
	m, h, err := s.readMessage(d.Home, number, make([]byte, envelopeSize))
	if err != nil {
		return
	}
	s.unpin(h.segment)
	name := fileName(segmentPrefix, h.segment.number)
	fs.Flip(name, int64(h.off)+record.FrameSize+3, 0x10)
	if m.InFile {
		fs.Flip(fileName(contentPrefix, number), record.HeaderSize+record.FrameSize+1, 0x10)
	} else {
		fs.Flip(name, int64(h.off)+record.FrameSize+int64(len(h.head)), 0x10)
	}
}
