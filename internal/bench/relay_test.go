//go:build linux

package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startRelay starts examples/relay on an empty queue.
func startRelay(t *testing.T, s settings) *running {
	t.Helper()
	return relayOn(t, diskFolder(t), s)
}

// relayOn starts examples/relay on a folder, where its queue is, and its events.
func relayOn(t *testing.T, dir string, s settings) *running {
	t.Helper()
	args := []string{"-listen", relayAddr, "-queue", filepath.Join(dir, "queue"), "-events", filepath.Join(dir, "events"),
		"-dns", dnsAddr, "-loopback", "-helo", "nexthop.relay.test", "-concurrency", strconv.Itoa(s.sites())}
	if s.connectTimeout > 0 {
		args = append(args, "-connect-timeout", s.connectTimeout.String())
	}
	if s.retry > 0 {
		args = append(args, "-retry", s.retry.String())
	}
	return startProgram(t, exec.Command(cmp.Or(s.program, os.Getenv(relayPath)), append(args, s.flags...)...))
}

// startProgram starts a relay that says so once it listens. It is killed at the
// end of the test, and shown what it printed where that failed.
func startProgram(t *testing.T, cmd *exec.Cmd) *running {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	printed, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	up, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		listening := false
		for lines := bufio.NewScanner(printed); lines.Scan(); {
			if log.Len() < 64<<10 {
				log.WriteString(lines.Text() + "\n")
			}
			if !listening && strings.HasPrefix(lines.Text(), "listening ") {
				listening = true
				close(up)
			}
		}
		_ = cmd.Wait() // how it ended is in its log
	}()
	stop := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		<-over
		if t.Failed() {
			t.Logf("log of %s:\n%s", cmd.Path, log.Bytes())
		}
	})
	t.Cleanup(stop)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-up:
	case <-over:
		t.Fatalf("%v ended at once:\n%s", cmd.Args, log.Bytes())
	case <-timer.C:
		t.Fatalf("%v does not say that it listens", cmd.Args)
	}
	return &running{func() ([]int, error) { return []int{cmd.Process.Pid}, nil }, stop}
}
