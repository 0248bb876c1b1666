package disk

// clean deletes files that nothing refers to. Contents are kept if a part of the log
// that no checkpoint covers could not be read, because the reference may be lost.
func (s *Spool) clean(f *found) error {
	for _, name := range f.leftovers {
		_ = s.fs.Remove(name)
	}
	if s.tail != nil { // messages that it says have left may come back
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
