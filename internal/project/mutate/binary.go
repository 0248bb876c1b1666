package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// binary is the tests of one package, compiled with all mutants.
type binary struct {
	path, dir string
}

// limits are what a process may take: by the clock, and of the processor, which says
// more where others use it as well. Zero is no limit.
type limits struct{ wall, work time.Duration }

// done is what became of a process.
type done struct {
	passed bool
	late   bool // it was ended at a limit
	out    []byte
	takes  time.Duration
	works  time.Duration // of the processor
}

// runTests runs tests in a process of their own, until the first fails.
func (b *binary) runTests(ctx context.Context, names []string, most limits, env string) done {
	return b.run(ctx, most, env, "-test.v", "-test.failfast", "-test.run", "^("+strings.Join(names, "|")+")$")
}

// runAll runs one test with all its subtests, whichever fails.
func (b *binary) runAll(ctx context.Context, name string, most limits, env string) done {
	return b.run(ctx, most, env, "-test.v", "-test.run", "^"+name+"$")
}

// run gives the process a directory of its own for what is temporary and removes it
// afterwards: tests that are ended at a limit leave everything in it.
func (b *binary) run(ctx context.Context, most limits, env string, args ...string) done {
	temporary, err := os.MkdirTemp(filepath.Dir(b.path), "t")
	if err != nil {
		return done{passed: true, out: []byte(err.Error())} // no test ran, so none noticed anything
	}
	defer func() { _ = os.RemoveAll(temporary) }()
	limited, cancel := context.WithTimeout(ctx, most.wall)
	defer cancel()
	command := exec.CommandContext(limited, b.path, args...)
	if most.work > 0 { // the shell says so to the system, which ends the process
		seconds := strconv.Itoa(1 + int(most.work.Seconds()))
		command = exec.CommandContext(limited, "sh", append([]string{"-c", `ulimit -t "$0" && exec "$@"`, seconds, b.path}, args...)...)
	}
	command.Dir, command.WaitDelay = b.dir, time.Second
	command.Env = append(os.Environ(), env, "TMPDIR="+temporary)
	began := time.Now()
	out, err := command.CombinedOutput()
	d := done{passed: err == nil, out: out, takes: time.Since(began)}
	if state := command.ProcessState; state != nil {
		d.works = state.UserTime() + state.SystemTime()
		d.late = state.String() == "signal: killed" && ctx.Err() == nil
	}
	return d
}

// failedIn returns the name of the first test that failed.
func failedIn(out []byte) string {
	for line := range bytes.Lines(out) {
		if name, ok := strings.CutPrefix(string(line), "--- FAIL: "); ok {
			name, _, _ = strings.Cut(name, " ")
			return name
		}
	}
	return "a crash"
}

// last returns the last n lines of out.
func last(out []byte, n int) string {
	lines := strings.SplitAfter(strings.TrimRight(string(out), "\n")+"\n", "\n")
	return strings.Join(lines[max(0, len(lines)-1-n):], "")
}
