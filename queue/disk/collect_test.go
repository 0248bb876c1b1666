package disk

import (
	"runtime/debug"
	"testing"
)

// collectLess has garbage be collected less often during a test that makes much of it
// and keeps little: else collecting it is half of what the test does.
func collectLess(t *testing.T) {
	old := debug.SetGCPercent(400)
	t.Cleanup(func() { debug.SetGCPercent(old) })
}
