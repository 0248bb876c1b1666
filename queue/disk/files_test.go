package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/crashfs"
	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// newFileRig is so many files of a log, each with its number as its only byte, of which
// most may be open.
func newFileRig(t *testing.T, n, most int) (*crashfs.FS, *files, []*logFile) {
	t.Helper()
	disk := crashfs.New(1)
	p := newFiles(disk, most)
	var list []*logFile
	for i := range n {
		name := fmt.Sprint(i)
		f, err := disk.Create(name)
		must(t, err)
		_, err = f.WriteAt([]byte{byte(i)}, 0)
		must(t, err)
		must(t, f.Close())
		list = append(list, p.file(name))
	}
	return disk, p, list
}

// readNumber reads a file, and reports whether the right one was read.
func readNumber(f *logFile, n int) error {
	b := []byte{255}
	if _, err := f.ReadAt(b, 0); err != nil {
		return err
	}
	if b[0] != byte(n) {
		return fmt.Errorf("file %d was read instead of %d", b[0], n)
	}
	return nil
}

// TestFileUsedLongestAgoIsClosed reads files of which not all may be open: the one that was
// used longest ago is closed, and opened when it is used again.
func TestFileUsedLongestAgoIsClosed(t *testing.T) {
	disk, p, list := newFileRig(t, 4, 3)
	var opened []string
	disk.Inject(func(op crashfs.Op, name string) error {
		if op == crashfs.OpOpen {
			opened = append(opened, name)
		}
		return nil
	})
	for _, n := range []int{0, 1, 2, 0, 3, 0, 2, 1, 3, 2} {
		must(t, readNumber(list[n], n))
	}
	if got := fmt.Sprint(opened); got != "[0 1 2 3 1 3]" {
		t.Errorf("%s were opened, one after the other", got)
	}
	if disk.Descriptors() != 3 || p.taken != 3 {
		t.Errorf("%d files are open, and %d descriptors counted, want 3", disk.Descriptors(), p.taken)
	}
	for n, f := range list {
		must(t, f.Close())
		must(t, f.Close())
		if err := readNumber(f, n); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("reading file %d after its Close = %v", n, err)
		}
	}
	if disk.Descriptors() != 0 || p.taken != 0 || len(p.open) != 0 {
		t.Errorf("%d files are open, and %d descriptors counted when all are closed", disk.Descriptors(), p.taken)
	}
}

// TestClosedFileDoesNothing calls each method of a file that has been closed, and before.
func TestClosedFileDoesNothing(t *testing.T) {
	disk := crashfs.New(1)
	p := newFiles(disk, 2)
	f, err := p.create("file")
	must(t, err)
	must(t, f.Allocate(20))
	must(t, f.Truncate(10))
	if size, err := f.Size(); size != 10 || err != nil {
		t.Errorf("the file has %d bytes, %v, want 10", size, err)
	}
	must(t, f.Close())
	for what, call := range map[string]func() error{
		"ReadAt":   func() error { _, err := f.ReadAt(make([]byte, 1), 0); return err },
		"WriteAt":  func() error { _, err := f.WriteAt(make([]byte, 20), 0); return err },
		"Truncate": func() error { return f.Truncate(1) },
		"Allocate": func() error { return f.Allocate(20) },
		"Sync":     f.Sync,
		"Size": func() error {
			n, err := f.Size()
			return errors.Join(err, map[bool]error{true: errors.New("a size")}[n != 0])
		},
	} {
		var path *fs.PathError
		if err := call(); !errors.Is(err, fs.ErrClosed) || !errors.As(err, &path) || path.Path != "file" {
			t.Errorf("%s = %v, want ErrClosed", what, err)
		}
	}
	if size, err := sizeOf(disk, "file"); size != 10 || err != nil {
		t.Errorf("the file has %d bytes, %v, want 10", size, err)
	}
}

// TestFileThatIsNeededStaysOpen has more files be needed than may be open: those that are
// being read, and the one that was created and is written to, keep their descriptors, and
// who needs another waits until one can be had, however that comes about.
func TestFileThatIsNeededStaysOpen(t *testing.T) {
	odd := errors.New("odd")
	for name, c := range map[string]struct {
		kept bool // the one descriptor is that of a file that was created
		free func(p *files, f *logFile)
	}{
		"it has been read":        {false, func(_ *files, f *logFile) { f.end() }},
		"it is closed":            {true, func(_ *files, f *logFile) { _ = f.Close() }},
		"it is not kept any more": {true, func(_ *files, f *logFile) { f.release() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, p, list := newFileRig(t, 2, 1)
				first := list[0]
				var err error
				if c.kept {
					first, err = p.create("new")
				} else {
					_, err = first.begin()
				}
				must(t, err)
				var readers sync.WaitGroup
				read := 0
				for range 3 {
					readers.Go(func() {
						if err := readNumber(list[1], 1); err != nil {
							t.Error(err)
						}
						p.mu.Lock()
						defer p.mu.Unlock()
						read++
					})
				}
				synctest.Wait()
				p.mu.Lock()
				early, taken := read, p.taken
				p.mu.Unlock()
				if early > 0 || taken != 1 {
					t.Errorf("%d have read without a descriptor, and %d are counted", early, taken)
				}
				c.free(p, first)
				readers.Wait()
				if read != 3 || p.taken != 1 {
					t.Errorf("%d have read, and %d descriptors are counted", read, p.taken)
				}
			})
		})
	}
	t.Run("another could not be opened", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, p, list := newFileRig(t, 1, 1)
			failed := make(chan struct{})
			var readers sync.WaitGroup
			readers.Go(func() {
				_, err := p.descriptor(func() (vfs.File, error) { <-failed; return nil, odd })
				if !errors.Is(err, odd) {
					t.Errorf("opening it = %v", err)
				}
			})
			synctest.Wait()
			readers.Go(func() {
				if err := readNumber(list[0], 0); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			close(failed)
			readers.Wait()
			if p.taken != 1 {
				t.Errorf("%d descriptors are counted, want 1", p.taken)
			}
		})
	})
}

// TestFileOpenedByTwoAtOnce has two need a file at once that is not open, or one while it
// is closed: it is open once, or not at all.
func TestFileOpenedByTwoAtOnce(t *testing.T) {
	for _, closed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			disk, p, list := newFileRig(t, 1, 3)
			f := list[0]
			opens, go1 := 0, make(chan struct{})
			p.fs = slowOpen{disk, func() { opens++; <-go1 }}
			errs := make([]error, 2)
			var readers sync.WaitGroup
			for i := range errs {
				readers.Go(func() { errs[i] = readNumber(f, 0) })
				synctest.Wait()
			}
			if closed {
				must(t, f.Close())
			}
			close(go1)
			readers.Wait()
			for _, err := range errs {
				if errors.Is(err, fs.ErrClosed) != closed || (err == nil) == closed {
					t.Errorf("closed meanwhile: %v; reading = %v", closed, err)
				}
			}
			want := map[bool]int{false: 1}[closed]
			if opens != 2 || disk.Descriptors() != want || p.taken != want || len(p.open) != want {
				t.Errorf("closed meanwhile: %v; it was opened %d times, %d are open, %d counted and %d listed",
					closed, opens, disk.Descriptors(), p.taken, len(p.open))
			}
		})
	}
}

// slowOpen is a file system that does something before it opens a file.
type slowOpen struct {
	vfs.FS
	first func()
}

func (s slowOpen) Open(name string, write bool) (vfs.File, error) {
	s.first()
	return s.FS.Open(name, write)
}

// TestFileClosedForAnother has the system have no descriptor left: files that are not in
// use are closed, one after the other, and if none is left that is told. Other failures are
// told at once.
func TestFileClosedForAnother(t *testing.T) {
	disk, p, list := newFileRig(t, 4, 10)
	for n, f := range list {
		must(t, readNumber(f, n))
	}
	_, err := list[0].begin() // it is in use
	must(t, err)
	odd := errors.New("odd")
	for _, c := range []struct {
		cause error
		until int // so few are open
		open  int // so many are open then
		want  error
	}{
		{odd, 0, 4, odd}, {syscall.EMFILE, 2, 2, nil}, {syscall.ENFILE, 0, 1, syscall.ENFILE},
	} {
		_, err := p.another(func() (vfs.File, error) {
			if disk.Descriptors() > c.until {
				return nil, c.cause
			}
			return nil, nil
		})
		if !errors.Is(err, c.want) || disk.Descriptors() != c.open || p.taken != c.open {
			t.Errorf("%v while more than %d are open: %v, %d are open and %d counted, want %d", c.cause, c.until, err, disk.Descriptors(), p.taken, c.open)
		}
	}
	for n, f := range list {
		if err := readNumber(f, n); err != nil {
			t.Errorf("reading file %d then: %v", n, err)
		}
	}
	if f, err := p.create("0"); !errors.Is(err, fs.ErrExist) || f != nil {
		t.Errorf("a file is created that is there: %v", err)
	}
	if _, err := p.file("none").Size(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file is read that is not there: %v", err)
	}
	if disk.Descriptors() != 4 || p.taken != 4 {
		t.Errorf("%d files are open, and %d descriptors counted, want 4", disk.Descriptors(), p.taken)
	}
}
