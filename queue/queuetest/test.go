package queuetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// patience is how long a case may take before its context ends.
const patience = time.Minute

// check is one case: a rule and something that shows whether it is kept.
type check struct {
	rule  string // its text, which begins with its number
	name  string
	needs need
	run   func(r *run)
}

// id is the number of the rule.
func (c check) id() string {
	id, _, _ := strings.Cut(c.rule, ".")
	return id
}

// title names the case and its rule.
func (c check) title() string { return c.id() + " " + c.name }

// allChecks is every case there is.
func allChecks() []check {
	var all []check
	for _, part := range [][]check{
		putChecks(), contentChecks(), keyChecks(), boundChecks(), claimChecks(), shareChecks(), nextChecks(), leaseChecks(),
		interruptChecks(), settleChecks(), atomicChecks(), createChecks(), openChecks(), listChecks(), holdChecks(),
		flushChecks(), postponeChecks(), ownChecks(), surveyChecks(), crowdChecks(), waitChecks(), handleChecks(), limitChecks(),
		restartChecks(), endChecks(), termsChecks(), suspendChecks(), takeChecks(), roomChecks(),
		outcomeChecks(),
	} {
		all = append(all, part...)
	}
	return all
}

// Failure says that an implementation breaks a rule.
type Failure struct {
	// Rule is the text of the rule, with its number.
	Rule string

	// Case is the name of the case that failed, and Problem what it found.
	Case, Problem string
}

// Error returns the case, the problem and the rule.
func (f *Failure) Error() string {
	return fmt.Sprintf("%s: %s\n\trule %s", f.Case, f.Problem, f.Rule)
}

// Test runs every case that applies to s. It returns a *Failure for each that fails,
// joined by errors.Join, or nil if s keeps the contract.
func Test(s Implementation) error {
	can, cases, _, err := s.cases()
	if err != nil {
		return err
	}
	var failed []error
	for _, c := range cases {
		rec := new(recorder)
		rec.do(func() { runCheck(context.Background(), rec, s, can, c) })
		for _, problem := range rec.problems {
			failed = append(failed, &Failure{Rule: c.rule, Case: c.title(), Problem: problem})
		}
	}
	return errors.Join(failed...)
}

// Run runs every case that applies to s as a subtest. Its name has the rule that it checks
// and the requirements of docs/requirements.md that a queue alone can show. A case that
// does not apply is not run. The log names it, and says what the subject lacks for it.
func Run(t *testing.T, s Implementation) {
	t.Helper()
	can, cases, unasked, err := s.cases()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range unasked {
		t.Logf("not asked, for the subject lacks %s: %s", strings.Join((c.needs&^can).names(), ", "), c.title())
	}
	for _, c := range cases {
		t.Run(c.title(), func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("rule %s", c.rule)
				}
			})
			runCheck(t.Context(), t, s, can, c)
		})
	}
}

// reporter is the part of testing.TB that cases use.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	FailNow()
}

// runCheck runs one case on a queue of its own.
func runCheck(ctx context.Context, to reporter, s Implementation, can need, c check) {
	to.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r := &run{reporter: to, ctx: ctx, now: s.start(), can: can, shared: s.Shared, keep: s.KeepKeys, keepOutcomes: s.KeepOutcomes}
	in, err := s.open(c)
	if err != nil {
		r.Fatalf("opening the queue: %v", err)
	}
	r.in, r.q = in, in.Queue
	defer r.close()
	c.run(r)
}

// recorder is a reporter without a testing.T.
type recorder struct {
	mu       sync.Mutex
	problems []string
}

// Helper does nothing.
func (rec *recorder) Helper() {}

// Errorf keeps a problem.
func (rec *recorder) Errorf(format string, args ...any) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.problems = append(rec.problems, fmt.Sprintf(format, args...))
}

// FailNow ends the case.
func (rec *recorder) FailNow() { runtime.Goexit() }

// do runs f in a goroutine that FailNow can end.
func (rec *recorder) do(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				rec.Errorf("panic: %v", p)
			}
		}()
		f()
	}()
	<-done
}

// close ends the queue a case has used.
func (r *run) close() {
	if err := queue.Close(r.q); err != nil {
		r.Errorf("Close: %v", err)
	}
}
