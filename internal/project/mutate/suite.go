package main

import (
	"bufio"
	"cmp"
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

	about map[string]map[*test]float64 // by file

	mu      sync.Mutex
	noticed map[string]map[string]int // by function and by test, how many breaks of it
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
			if !strings.HasPrefix(name, "Benchmark") && (s.matching == nil || s.matching.MatchString(name)) {
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
		_, _ = s.out.Write(left)
		for _, n := range numbers {
			s.mutants[n-1].tests = append(s.mutants[n-1].tests, t)
		}
	})
	if err := errors.Join(append(problems, ctx.Err())...); err != nil {
		return err
	}
	s.weigh()
	fmt.Fprintf(s.out, "%d mutants, %d tests\n", len(s.mutants), len(tests))
	return nil
}

// weigh finds out which tests are about which files: those that come by what few
// others come by.
func (s *suite) weigh() {
	s.about = make(map[string]map[*test]float64)
	for _, m := range s.mutants {
		if s.about[m.file] == nil {
			s.about[m.file] = make(map[*test]float64)
		}
		for _, t := range m.tests {
			s.about[m.file][t] += 1 / float64(len(m.tests))
		}
	}
}

// reach runs one test, which logs the numbers of the mutants it comes by to a file.
// left says why a test that cannot be used is left out.
func (s *suite) reach(ctx context.Context, t *test, log string) (numbers []int, left []byte, err error) {
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		return nil, nil, err
	}
	defer func() { _ = os.Remove(log) }()
	done := t.binary.runTests(ctx, []string{t.name}, limits{wall: 10 * s.slowest, work: s.slowest}, "NEXTHOP_MUTANT_LOG="+log)
	t.takes, t.works = done.takes, done.works
	t.rows = rowsIn(done.out, "--- PASS: ")
	if !done.passed {
		return nil, fmt.Appendf(nil, "left out, for it fails or takes more than %v: %s\n%s", s.slowest, t.name, last(done.out, 3)), nil
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

// together is how much work tests do in one process before a failure among them is
// looked for.
const together = 300 * time.Millisecond

// try runs the tests that reach m, the most promising first, until one fails.
func (s *suite) try(ctx context.Context, m *mutant) {
	if len(m.tests) == 0 {
		m.outcome = unreached
		return
	}
	s.promising(m)
	m.outcome = survived
	var spent time.Duration
	for rest := m.tests; len(rest) > 0 && m.outcome == survived && ctx.Err() == nil; {
		n, names, most := 0, []string(nil), limits{}
		for n < len(rest) && rest[n].binary == rest[0].binary && (n == 0 || most.work+rest[n].works <= together) {
			names = append(names, rest[n].name)
			most.wall, most.work = most.wall+rest[n].takes, most.work+rest[n].works
			n++
		}
		if spent += most.work; s.budget > 0 && spent > s.budget {
			return
		}
		done := rest[0].binary.runTests(ctx, names, s.limits(most), "NEXTHOP_MUTANT="+strconv.Itoa(m.number))
		switch {
		case done.late:
			m.outcome, m.by = hung, strings.Join(names, ", ")
		case !done.passed:
			m.outcome, m.by = killed, failedIn(done.out)
			s.noted(m)
		}
		rest = rest[n:]
	}
}

// promising sorts the tests that reach m: first those that have noticed another break
// of the same function, then those that take little for what they are about.
func (s *suite) promising(m *mutant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, about := s.noticed[m.file+" "+m.in], s.about[m.file]
	slices.SortFunc(m.tests, func(a, b *test) int {
		return cmp.Or(before[b.name]-before[a.name], cmp.Compare(a.works.Seconds()*about[b], b.works.Seconds()*about[a]))
	})
}

// noted remembers which test has noticed m.
func (s *suite) noted(m *mutant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := m.file + " " + m.in
	if s.noticed == nil {
		s.noticed = make(map[string]map[string]int)
	}
	if s.noticed[in] == nil {
		s.noticed[in] = make(map[string]int)
	}
	s.noticed[in][m.by]++
}

// limits are what tests may take with a mutant that usually take so long.
func (s *suite) limits(usual limits) limits {
	return limits{wall: s.patience + 5*usual.wall, work: s.patience/10 + 3*usual.work}
}
