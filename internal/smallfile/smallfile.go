// Package smallfile reads files of a limited length, and replaces them as a whole: whatever
// happens meanwhile, a file has its old content or the new one.
package smallfile

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Read returns up to most bytes of a file, and nil if there is no such file.
func Read(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// Decode decodes JSON into the value that v points to. It reports false if text is no JSON
// or does not fit the value, which then may have been filled in part.
func Decode(text []byte, v any) bool { return json.Unmarshal(text, v) == nil }

// Replace gives a file new content. That is written to another file first, in the same
// directory, whose name begins with temp; it is left behind only if the process dies. The
// directory is made, with access for its owner only. If sync is set, the content is on the
// disk before it replaces the old one; else a power cut may leave an empty file.
func Replace(path, temp string, text []byte, sync bool) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, temp+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil && sync {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
