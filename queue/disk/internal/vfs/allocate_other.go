//go:build !linux

package vfs

import (
	"errors"
	"os"
)

// allocate does nothing: bytes are written instead.
func allocate(*os.File, int64) error { return errors.ErrUnsupported }
