//go:build !linux

package postgrestest

import "os/exec"

// isolate leaves the program as it is: tests that need PostgreSQL do not run as root here.
func isolate(*exec.Cmd, bool) {}
