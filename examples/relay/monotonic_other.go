//go:build !linux

package main

// monotonic is for systemd, which there is on Linux alone.
func monotonic() string { return "0" }
