package vfs

// dirSynced is the answer to the sync of a directory: nil where the file system
// has no such call, as some network and FUSE file systems do. It then saves names
// by rules of its own.
func dirSynced(err error) error {
	if isAny(err, unsupportedErrors()) {
		return nil
	}
	return err
}
