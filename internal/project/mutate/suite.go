package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// suite is the tests, and what they have found.
type suite struct {
	options
	overlay  string
	mutants  []*mutant
	only     map[string]bool // the names of those to try; if nil, all
	binaries []*binary
	out      io.Writer
}

// binary is the tests of one package, compiled with all mutants.
type binary struct {
	path, dir string
}

// build compiles the tests.
func (s *suite) build(ctx context.Context) error {
	for i, p := range s.tests {
		b := &binary{path: filepath.Join(s.keep, fmt.Sprintf("%d.test", i)), dir: filepath.Join(s.dir, p)}
		command := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", s.overlay, "-o", b.path, p)
		command.Dir = s.dir
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("compiling the tests of %s: %w\n%s", p, err, out)
		}
		if _, err := os.Stat(b.path); err == nil { // a package without tests makes none
			s.binaries = append(s.binaries, b)
		}
	}
	return nil
}

// measure runs each test in a process of its own, without a mutant, and notes what it
// reaches.
func (s *suite) measure(ctx context.Context) error {
	var tests []*test
	for _, b := range s.binaries {
		command := exec.CommandContext(ctx, b.path, "-test.list", ".")
		command.Dir = b.dir
		out, err := command.Output()
		if err != nil {
			return fmt.Errorf("listing tests: %w", err)
		}
		for _, name := range strings.Fields(string(out)) {
			if !strings.HasPrefix(name, "Benchmark") {
				tests = append(tests, &test{binary: b, name: name})
			}
		}
	}
	var mu sync.Mutex
	var problems []error
	each(s.workers, tests, func(i int, t *test) {
		if ctx.Err() != nil {
			return
		}
		numbers, left, err := s.reach(ctx, t, filepath.Join(s.keep, fmt.Sprintf("reached%d", i)))
		mu.Lock()
		defer mu.Unlock()
		problems = append(problems, err)
		s.out.Write(left)
		t.reach = len(numbers)
		for _, n := range numbers {
			s.mutants[n-1].tests = append(s.mutants[n-1].tests, t)
		}
	})
	if err := errors.Join(append(problems, ctx.Err())...); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%d mutants, %d tests\n", len(s.mutants), len(tests))
	return nil
}

// reach runs one test, which logs the numbers of the mutants it comes by to a file.
// left says why a test that cannot be used is left out.
func (s *suite) reach(ctx context.Context, t *test, log string) (numbers []int, left []byte, err error) {
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		return nil, nil, err
	}
	defer os.Remove(log)
	began := time.Now()
	passed, _, out := run1(ctx, t.binary, []string{t.name}, s.slowest, "NEXTHOP_MUTANT_LOG="+log)
	t.takes = time.Since(began)
	t.rows = rowsIn(out, "--- PASS: ")
	if !passed {
		return nil, fmt.Appendf(nil, "left out, for it fails or takes longer than %v: %s\n%s", s.slowest, t.name, last(out, 3)), nil
	}
	reached, err := os.Open(log)
	if err != nil {
		return nil, nil, err
	}
	defer reached.Close()
	seen := make(map[int]bool)
	for lines := bufio.NewScanner(reached); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil || n < 1 || n > len(s.mutants) {
			return nil, nil, fmt.Errorf("no number of a mutant: %q", lines.Text())
		}
		if !seen[n] {
			seen[n] = true
			numbers = append(numbers, n)
		}
	}
	return numbers, nil, nil
}

// kill tries the mutants.
func (s *suite) kill(ctx context.Context) error {
	each(s.workers, s.mutants, func(_ int, m *mutant) {
		if ctx.Err() == nil && (s.only == nil || s.only[m.name()]) {
			s.try(ctx, m)
			s.progress(m)
		}
	})
	return ctx.Err()
}

// progress tells of a survivor at once, and now and then of how far the run has come.
func (s *suite) progress(m *mutant) {
	if s.verbose == nil {
		return
	}
	if m.outcome != killed || m.number%100 == 0 {
		fmt.Fprintf(s.verbose, "%d of %d: %s:%d: %s: %s: %s\n", m.number, len(s.mutants), m.file, m.line, m.in, m.what, m.outcome)
	}
}

// together is for how long tests run in one process before a failure among them is
// looked for.
const together = time.Second

// try runs the tests that reach m, the most promising first, until one fails.
func (s *suite) try(ctx context.Context, m *mutant) {
	if len(m.tests) == 0 {
		m.outcome = unreached
		return
	}
	slices.SortFunc(m.tests, byPromise)
	m.outcome = survived
	for rest := m.tests; len(rest) > 0 && m.outcome == survived && ctx.Err() == nil; {
		n, names, takes := 0, []string(nil), time.Duration(0)
		for n < len(rest) && rest[n].binary == rest[0].binary && (n == 0 || takes+rest[n].takes <= together) {
			names, takes = append(names, rest[n].name), takes+rest[n].takes
			n++
		}
		passed, late, out := run1(ctx, rest[0].binary, names, s.patience+5*takes, "NEXTHOP_MUTANT="+strconv.Itoa(m.number))
		switch {
		case late:
			m.outcome, m.by = hung, strings.Join(names, ", ")
		case !passed:
			m.outcome, m.by = killed, failedIn(out)
		}
		rest = rest[n:]
	}
}

// run1 runs tests of one binary in a process of their own. It reports whether they
// passed, and whether they were ended because they took too long.
func run1(ctx context.Context, b *binary, names []string, limit time.Duration, env string) (passed, late bool, out []byte) {
	return b.run(ctx, limit, env, "-test.v", "-test.failfast", "-test.run", "^("+strings.Join(names, "|")+")$")
}

// runAll runs one test with all its subtests, whichever fails.
func runAll(ctx context.Context, t *test, limit time.Duration, env string) (passed, late bool, out []byte) {
	return t.binary.run(ctx, limit, env, "-test.v", "-test.run", "^"+t.name+"$")
}

func (b *binary) run(ctx context.Context, limit time.Duration, env string, args ...string) (passed, late bool, out []byte) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	command := exec.CommandContext(limited, b.path, args...)
	command.Dir, command.WaitDelay = b.dir, time.Second
	command.Env = append(os.Environ(), env)
	out, err := command.CombinedOutput()
	return err == nil, limited.Err() != nil && ctx.Err() == nil, out
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
