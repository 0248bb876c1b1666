package disk

import (
	"os"
	"os/exec"
	"testing"
)

// TestBuildsElsewhere builds the spool and its tests for the systems it runs on.
func TestBuildsElsewhere(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		cmd := exec.Command("go", "vet", "./...")
		cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", goos, err, out)
		}
	}
}
