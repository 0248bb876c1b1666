package crashfs

import "runtime"

// Op is a kind of operation on the file system.
type Op int

// The kinds. Those up to OpSyncDir change something and count for CutAt.
const (
	OpWrite Op = iota
	OpTruncate
	OpSync
	OpCreate
	OpRename
	OpRemove
	OpSyncDir
	OpRead
	OpOpen
	OpSize
	OpList
	OpLock
)

// String is the kind's name.
func (o Op) String() string {
	return [...]string{"write", "truncate", "sync", "create", "rename", "remove", "syncdir",
		"read", "open", "size", "list", "lock"}[o]
}

// Injector is asked before each operation; an error is the operation's answer.
// It must not call the file system.
type Injector func(op Op, name string) error

// Inject has every further operation ask in first; nil ends that.
func (f *FS) Inject(in Injector) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inject = in
}

// Meanwhile has every further Sync of a file call do while the device is busy with
// it, in what Restart, Kill and Copy return too. Others can use the file system then; do
// may do so too. If nil, others have their turn.
func (f *FS) Meanwhile(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.meanwhile = do; do == nil {
		f.meanwhile = runtime.Gosched
	}
}

// FailNth returns an injector that fails the n-th operation of kind op, the
// first being 1, and where all is set every one after it.
func FailNth(op Op, n int, all bool, err error) Injector {
	seen := 0
	return func(o Op, _ string) error {
		if o != op {
			return nil
		}
		seen++
		if seen == n || all && seen > n {
			return err
		}
		return nil
	}
}

// CutAt cuts the power at the n-th change from the start, the first being 1.
func (f *FS) CutAt(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutAt = n
}

// Writes returns how many operations so far changed something.
func (f *FS) Writes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes
}

// before counts an operation and answers what must go wrong with it.
func (f *FS) before(op Op, name string) error {
	f.cutting = false
	if f.off {
		return ErrPowerCut
	}
	if op <= OpSyncDir {
		f.writes++
		if f.writes == f.cutAt {
			f.off, f.cutting = true, true
			return ErrPowerCut
		}
	}
	if f.inject != nil {
		if err := f.inject(op, name); err != nil {
			return pathError(op.String(), name, err)
		}
	}
	return nil
}
