package cli

import (
	"os"
	"time"
)

// Watch detects whether files have changed since the last check: written to, or
// replaced, also through symbolic links. It only watches regular files, because a pipe
// can be read only once.
type Watch struct {
	Files []string
	seen  []os.FileInfo
}

// Often is how often a program looks whether its files have changed.
const Often = time.Second

// Changed looks at the files. The first look finds no change.
func (w *Watch) Changed() bool {
	changed, first := false, w.seen == nil
	if first {
		w.seen = make([]os.FileInfo, len(w.Files))
	}
	for i, name := range w.Files {
		now, err := os.Stat(name)
		if err != nil || !now.Mode().IsRegular() {
			now = nil
		}
		before := w.seen[i]
		w.seen[i] = now
		switch {
		case now == nil && before == nil:
		case now == nil || before == nil:
			changed = true
		case !os.SameFile(now, before), now.Size() != before.Size(), !now.ModTime().Equal(before.ModTime()):
			changed = true
		}
	}
	return changed && !first
}
