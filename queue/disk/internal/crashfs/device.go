package crashfs

import (
	"syscall"

	"github.com/nexthop-mail/nexthop/queue/disk/internal/vfs"
)

// Device is what the files lie on, and how the system treats it. The zero value
// has room for everything, knows no limit, and tears a write only where its own
// bytes go.
type Device struct {
	// Room is how many bytes names and files may take together: NameSize a name,
	// and the length of each file that has a name or is open. Zero is no bound.
	Room int64

	// AtSync has a lack of room show when a file is synced and not when it is
	// written, as with delayed allocation and over a network.
	AtSync bool

	// Quota has nobody know how much room there is.
	Quota bool

	// CopyOnWrite has a write need room for all its bytes until it is done, those
	// that replace others too.
	CopyOnWrite bool

	// Descriptors is how many files and locks may be open at a time; a List needs
	// one more for a moment. Zero is no bound.
	Descriptors int

	// KeepsOpen has the removal and the renaming of a file fail while it is open,
	// as on Windows.
	KeepsOpen bool

	// Shears is the length of the block that a device writes as a whole and that a
	// power cut in the middle may leave in pieces, with what was saved in it
	// before. Zero has what was saved stay.
	Shears int64
}

// NameSize is how much room a name takes.
const NameSize = 64

// SetDevice changes the device. What Restart, Kill and Copy return lies on the
// same one.
func (f *FS) SetDevice(d Device) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.device = d
}

// Descriptors returns how many files and locks are open.
func (f *FS) Descriptors() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.descriptors
}

// Used returns how much of the device's room is taken.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used()
}

// Capacity implements vfs.FS.
func (f *FS) Capacity() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.device.Quota {
		return 0
	}
	return f.device.Room
}

// used is Used where the lock is held.
func (f *FS) used() int64 {
	n := int64(len(f.names)) * NameSize
	for i := range f.files() {
		n += int64(len(i.seen))
	}
	return n
}

// files are those that have a name or are open.
func (f *FS) files() map[*inode]bool {
	list := map[*inode]bool{}
	for _, i := range f.names {
		list[i] = true
	}
	for i := range f.open {
		list[i] = true
	}
	return list
}

// free is how much room there is.
func (f *FS) free() int64 {
	if f.device.Room <= 0 {
		return 1 << 62
	}
	return f.device.Room - f.used()
}

// take uses so much of the room. What was given up but not saved yet is saved
// first if the device has to use its room again, as file systems do.
func (f *FS) take(n int64) {
	if f.device.Room <= 0 {
		return
	}
	given := int64(0)
	files := f.files()
	for name, i := range f.durable {
		if f.names[name] == nil {
			given += NameSize
		}
		if !files[i] {
			given += int64(len(i.durable))
		}
	}
	for i := range files {
		given += max(0, int64(len(i.durable)-len(i.seen)))
	}
	if f.free()-given >= n {
		return
	}
	f.saveNames()
	for i := range files {
		if len(i.durable) > len(i.seen) {
			i.durable = i.durable[:len(i.seen)]
		}
	}
}

// fits is how many of n bytes at off can be written.
func (f *FS) fits(i *inode, off int64, n int) int {
	if f.device.Room <= 0 || f.device.AtSync {
		return n
	}
	have := int64(len(i.seen))
	if off > have || f.device.CopyOnWrite { // a hole takes room too
		have = min(off, have)
	}
	need := off + int64(n) - have
	if need <= 0 {
		return n
	}
	if free := max(0, f.free()); need > free {
		n -= int(min(int64(n), need-free))
	}
	f.take(max(0, off+int64(n)-have))
	return n
}

// descriptor takes one, which close gives back.
func (f *FS) descriptor(op Op, name string) error {
	if f.device.Descriptors > 0 && f.descriptors >= f.device.Descriptors {
		return pathError(op.String(), name, syscall.EMFILE)
	}
	return nil
}

// kept is the error of taking an open file's name away.
func (f *FS) kept(op Op, name string) error {
	if i := f.names[name]; f.device.KeepsOpen && i != nil && f.open[i] > 0 {
		return pathError(op.String(), name, vfs.ErrInUse)
	}
	return nil
}
