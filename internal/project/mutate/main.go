// Command mutate breaks packages of this repository in one place at a time and
// prints which of the breaks no test notices.
//
//	mutate [-C DIR] [-tests DIR,... [-run REGEXP]] [-files REGEXP] [-accepted FILE] [-again FILE] PACKAGE...
//	mutate [...] -row ROW PACKAGE...
//	mutate [...] -clauses FILE PACKAGE...
//
// It works like this:
//
//  1. load reads the packages and find lists the mutants: conditions that are
//     always true or never, operands of && and || that do not count, comparisons
//     that are off by one, statements that are not executed, cases that are
//     skipped, plus in place of minus.
//  2. instrument writes all of them into one copy of the sources, each behind a
//     number, so that everything is compiled once (go test -overlay).
//  3. suite.measure runs every test alone to learn how long it takes and which
//     mutants it reaches: those it comes by where they make a difference, such as a
//     condition that is true where the break has it false.
//  4. suite.kill runs, for each mutant, the tests that reach it until one fails:
//     first those that have noticed another break of the same function, then fast
//     ones, and those that come by what few others come by.
//
// A survivor is a mutant no test notices, one that no test reaches among them.
// The file of accepted survivors has a line for each that may stay, with the
// reason; mutate exits with 1 if there is another one, or a line of the file that
// is no survivor any more.
//
// With -budget, a mutant survives that the first tests do not notice: a run is soon
// over, and -again with all tests looks at its survivors.
//
// With -again, only those mutants are tried that survived an earlier run, whose output
// is the file. So it is soon known whether a new test notices what no other did.
//
// With -row, mutate looks at one row of the requirements instead: which mutants do
// the subtests notice that have its number in their names? With -clauses, it reads
// a table of rows and the mutants that break them, clause by clause, and exits with
// 1 if one of these is not noticed by a subtest of its row.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// options are what the command line asks for.
type options struct {
	dir      string         // where the go command runs: the root of a module
	packages []string       // the packages that are broken, as the go command names them
	tests    []string       // the packages whose tests run
	matching *regexp.Regexp // the tests that run; if nil, all
	files    *regexp.Regexp // the files that are broken; if nil, all
	accepted string         // the file of accepted survivors; if empty, there are none
	slowest  time.Duration  // tests that take more of the processor's time do not run
	patience time.Duration  // what tests may take longer before they count as hanging
	budget   time.Duration  // the time of the tests that are tried on one mutant; if 0, all are
	workers  int            // mutants tried at once
	row      string         // the row to look at; if empty, none
	clauses  string         // the table to hold the tests to; if empty, none
	again    string         // what an earlier run has printed; if empty, there was none
	verbose  io.Writer      // where survivors go at once; if nil, nowhere
	keep     string         // where the instrumented sources and test binaries go
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// errSurvivors is the error of a run with survivors that nobody has accepted.
var errSurvivors = errors.New("there are survivors without a reason, or reasons without a survivor")

func run(ctx context.Context, args []string, w io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.keep == "" {
		if o.keep, err = os.MkdirTemp("", "mutate"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(o.keep) }()
	}
	loaded, err := load(ctx, o)
	if err != nil {
		return err
	}
	var mutants []*mutant
	for _, p := range loaded {
		mutants = append(mutants, find(p, o.files, len(mutants))...)
	}
	if err := nameFiles(mutants); err != nil {
		return err
	}
	only, err := readSurvivors(o.again)
	if err != nil {
		return err
	}
	overlay, err := instrument(o.keep, loaded, mutants)
	if err != nil {
		return err
	}
	s := &suite{options: o, overlay: overlay, mutants: mutants, only: only, out: w}
	if err := s.build(ctx); err != nil {
		return err
	}
	if err := s.measure(ctx); err != nil {
		return err
	}
	switch {
	case o.row != "":
		return s.lookAt(ctx, o.row)
	case o.clauses != "":
		return s.checkClauses(ctx, o.clauses)
	}
	if err := s.kill(ctx); err != nil {
		return err
	}
	return report(w, mutants, o.accepted)
}

// nameFiles names the files of mutants as a reader of the report knows them.
func nameFiles(mutants []*mutant) error {
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	for _, m := range mutants {
		name, err := filepath.Rel(here, m.source)
		if err != nil {
			return err
		}
		m.file = filepath.ToSlash(name)
	}
	return nil
}

func parse(args []string) (options, error) {
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	dir := flags.String("C", ".", "the module to work in")
	tests := flags.String("tests", "", "directories of the test packages, with commas; default: the packages that are broken")
	matching := flags.String("run", "", "run only tests whose name matches this")
	files := flags.String("files", "", "break only files whose name matches this")
	accepted := flags.String("accepted", "", "the file of accepted survivors")
	slowest := flags.Duration("slowest", 10*time.Second, "leave out tests that take more of the processor's time, or ten times as long")
	patience := flags.Duration("patience", 10*time.Second, "how long tests may take beyond five times what they take without a mutant")
	budget := flags.Duration("budget", 0, "try tests that take so much of the processor's time on one mutant; default: all")
	workers := flags.Int("workers", 2, "mutants tried at once")
	row := flags.String("row", "", "print which mutants the subtests of this row notice")
	clauses := flags.String("clauses", "", "the table of rows and the mutants that break them")
	again := flags.String("again", "", "try only the survivors that this file, the output of an earlier run, names")
	verbose := flags.Bool("v", false, "tell of survivors at once, on the standard error")
	keep := flags.String("keep", "", "keep sources and test binaries here")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() == 0 {
		return options{}, errors.New("no package to break")
	}
	o := options{dir: *dir, packages: flags.Args(), tests: flags.Args(), accepted: *accepted, slowest: *slowest, patience: *patience, budget: *budget, workers: *workers, row: *row, clauses: *clauses, again: *again}
	if *verbose {
		o.verbose = os.Stderr
	}
	if *tests != "" {
		o.tests = strings.Split(*tests, ",")
	}
	for _, given := range []struct {
		text string
		to   **regexp.Regexp
	}{{*files, &o.files}, {*matching, &o.matching}} {
		if given.text == "" {
			continue
		}
		matches, err := regexp.Compile(given.text)
		if err != nil {
			return options{}, err
		}
		*given.to = matches
	}
	if *keep != "" {
		absolute, err := filepath.Abs(*keep)
		if err != nil {
			return options{}, err
		}
		o.keep = absolute
		return o, os.MkdirAll(o.keep, 0o700)
	}
	return o, nil
}
