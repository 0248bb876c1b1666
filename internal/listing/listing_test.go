package listing_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/internal/listing"
)

// write makes a file.
func write(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestNames: a file that is not there is known to be missing without a look; what others
// write is seen within Every, and what this process writes at once.
func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n listing.Names
		dir := filepath.Join(t.TempDir(), "later")
		lacks := func(name string, want bool) {
			t.Helper()
			at, missing := n.Lacks(dir, name)
			if missing != want {
				t.Errorf("it lacks %s: %v, want %v", name, missing, want)
			}
			if age := time.Since(at); age < 0 || age >= listing.Every {
				t.Errorf("it was listed %v ago", age)
			}
		}
		lacks("a", true) // nor is there a directory
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, dir, "a")
		time.Sleep(listing.Every - 1)
		lacks("a", true)
		time.Sleep(time.Nanosecond)
		lacks("a", false)
		lacks("b", true)
		write(t, dir, "b")
		n.Changed("b")
		lacks("b", false)
		lacks("c", true)
		if err := os.Remove(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		lacks("a", false) // whoever looks for it finds that
		time.Sleep(listing.Every)
		lacks("a", true)
	})
}

// TestNamesNotKnown: where the files are not known, none is said to be missing.
func TestNamesNotKnown(t *testing.T) {
	t.Run("a directory that cannot be read", func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, "file")
		var n listing.Names
		if _, missing := n.Lacks(filepath.Join(dir, "file"), "a"); missing {
			t.Error("the file is missing")
		}
	})
	for files, want := range map[int]bool{8192: true, 8193: false} {
		t.Run(fmt.Sprint(files, " files"), func(t *testing.T) {
			dir := t.TempDir()
			for i := range files {
				write(t, dir, fmt.Sprint(i))
			}
			var n listing.Names
			if _, missing := n.Lacks(dir, "a"); missing != want {
				t.Errorf("the file is missing: %v, want %v", missing, want)
			}
		})
	}
}

// TestNamesWhileFilesAreWritten: a file is never missing for the process that wrote it.
func TestNamesWhileFilesAreWritten(t *testing.T) {
	dir := t.TempDir()
	for round := range 50 {
		var n listing.Names
		done := make(chan bool)
		go func() {
			defer close(done)
			n.Lacks(dir, "")
		}()
		name := fmt.Sprint(round)
		write(t, dir, name)
		n.Changed(name)
		<-done
		if _, missing := n.Lacks(dir, name); missing {
			t.Fatalf("round %d: the file is missing", round)
		}
	}
}
