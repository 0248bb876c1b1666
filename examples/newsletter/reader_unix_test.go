//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestNoReader: who reads what the program writes about mail may go away, and the program
// goes on to its end.
func TestNoReader(t *testing.T) {
	const asProgram = "NEXTHOP_TEST_AS_PROGRAM"
	if list := os.Getenv(asProgram); list != "" {
		os.Args = append(os.Args[:1], "-from", "news@example.org", "-issue", "1", "-spool", t.TempDir(), list, list)
		main()
		return
	}
	list := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(list, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	defer writer.Close()
	c := exec.Command(os.Args[0], "-test.run", "^TestNoReader$")
	c.Env = append(os.Environ(), asProgram+"="+list)
	c.Stderr = writer
	_ = c.Run()
	if !c.ProcessState.Exited() {
		t.Errorf("it ends with %v", c.ProcessState)
	}
}
