//go:build !linux

package disk

import "time"

var threadStart = time.Now()

// threadTime is the time on the wall where the system does not tell a thread's.
func threadTime() (used time.Duration, thread int) { return time.Since(threadStart), 0 }
