//go:build linux

package bench

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// libraryMessages are how many the library and the bare source each send.
const libraryMessages = 20_000

// libraryTime is how long they may take; the library's program then says where it
// hangs.
const libraryTime = time.Minute

// compareLibrary sets the library, from Submit to the sink with a durable queue
// between, beside two bare sources that send the same
// over kept connections: one in Go, and smtp-source.
func compareLibrary(t *testing.T, to *table, _ candidate) {
	t.Run("nexthop", func(t *testing.T) {
		used, took := measureProgram(t, libraryMessages, "-queue", filepath.Join(diskFolder(t), "queue"), "-dns", dnsAddr,
			"-submitters", strconv.Itoa(sessions), "-cpuprofile", *profile)
		to.add("library", "messages/s", nexthop, libraryMessages/took.Seconds(), gate{})
		to.add("library", "CPU ms/message", nexthop, ms(used)/libraryMessages, gate{over: bare, bound: 2.5})
	})
	t.Run("bare", func(t *testing.T) {
		used, took := measureProgram(t, libraryMessages, "-bare", sinkAddr)
		to.add("library", "messages/s", bareGo, libraryMessages/took.Seconds(), gate{})
		to.add("library", "CPU ms/message", bareGo, ms(used)/libraryMessages, gate{})
	})
	t.Run("source", func(t *testing.T) {
		sink := startSink(t)
		began := time.Now()
		used, err := smtpSource(t.Context(), sinkAddr, 20, libraryMessages, size, "user@"+oneDomain)
		if err != nil {
			t.Fatal(err)
		}
		arrivals, err := sink.await(t.Context(), libraryMessages)
		if err != nil {
			t.Fatal(err)
		}
		took := arrivals[libraryMessages-1].Sub(began)
		to.add("library", "messages/s", bare, libraryMessages/took.Seconds(), gate{})
		to.add("library", "CPU ms/message", bare, ms(used)/libraryMessages, gate{})
	})
}

// measureProgram runs the program that sends messages, through the library or
// without it, and returns its processor time and the time to the last arrival.
func measureProgram(t *testing.T, messages int, args ...string) (used, took time.Duration) {
	t.Helper()
	sink := startSink(t)
	ctx, cancel := context.WithTimeout(t.Context(), libraryTime)
	defer cancel()
	args = append(args, "-to", "user@"+oneDomain, "-messages", strconv.Itoa(messages), "-size", strconv.Itoa(size))
	cmd := exec.CommandContext(ctx, os.Getenv(submitPath), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) }
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	arrivals, err := sink.await(t.Context(), messages)
	if err != nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), arrivals[messages-1].Sub(began)
}
