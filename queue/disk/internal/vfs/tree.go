package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Tree is where directories are made in each other.
//
//   - A directory that Mkdir made survives a power cut only once SyncDir of its
//     parent has returned nil.
type Tree interface {
	// Exists reports whether there is something of that name.
	Exists(dir string) (bool, error)
	// Mkdir makes a directory with mode 0700 in one that must exist.
	Mkdir(dir string) error
	// SyncDir makes what was made in a directory durable.
	SyncDir(dir string) error
}

// MakeDir makes a directory and those above it that are not there, and sees to it
// that a power cut takes none of them away: each is saved before anything is made
// in it. One that is there already is saved too, if that is allowed: whoever made
// it may have died before that.
func MakeDir(t Tree, dir string) error {
	parent := filepath.Dir(dir)
	there, err := t.Exists(dir)
	if err != nil {
		return err
	}
	if there {
		_ = t.SyncDir(parent)
		return nil
	}
	if parent != dir {
		if err := MakeDir(t, parent); err != nil {
			return err
		}
	}
	if err := t.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return t.SyncDir(parent)
}

// OSTree returns the directories of the operating system.
func OSTree() Tree { return osTree{} }

type osTree struct{}

func (osTree) Exists(dir string) (bool, error) {
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (osTree) Mkdir(dir string) error { return os.Mkdir(dir, 0o700) }

func (osTree) SyncDir(dir string) error { return syncDir(dir) }
