//go:build unix && !linux

package vfs

func damageErrors() []error { return nil }
