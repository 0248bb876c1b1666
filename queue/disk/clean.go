package disk

// clean deletes what nothing speaks of. Contents stay if some of the log could not
// be read that no checkpoint covers: what spoke of them may be lost.
func (s *Spool) clean(f *found) error {
	for _, name := range f.leftovers {
		_ = s.fs.Remove(name)
	}
	if s.tail != nil { // what it says has left may come back
		return s.fs.SyncDir()
	}
	for n := range f.sizes {
		if s.segments.byNumber[n] == nil {
			_ = s.fs.Remove(fileName(segmentPrefix, n))
		}
	}
	for _, n := range f.contents {
		if !s.index.Has(n) && !s.hidden {
			_ = s.fs.Remove(fileName(contentPrefix, n))
		}
	}
	return s.fs.SyncDir()
}
