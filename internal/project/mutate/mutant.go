package main

import (
	"fmt"
	"time"
)

// mutant is one break.
type mutant struct {
	number int
	source string // the path of the file it is in
	file   string // the same below the directory the command runs in, with slashes
	line   int
	in     string // the function it is in
	what   string // the text it is about, and what becomes of it
	edits  []edit

	tests   []*test // which reach it
	outcome outcome
	by      string // the test that noticed it
}

// outcome is what became of a mutant.
type outcome int

const (
	untried outcome = iota
	unreached
	survived
	killed
	hung // killed by the time limit
)

func (o outcome) String() string {
	switch o {
	case unreached:
		return "reached by no test"
	case survived:
		return "survived"
	case killed:
		return "killed"
	case hung:
		return "hung"
	}
	return "not tried"
}

// name is how the file of accepted survivors names m. It has no line, so that it
// stays true when code above changes.
func (m *mutant) name() string { return fmt.Sprintf("%s %s: %s", m.file, m.in, m.what) }

// test is a test, an example or the seeds of a fuzz target.
type test struct {
	binary *binary
	name   string
	takes  time.Duration
	works  time.Duration // of the processor
	rows   []string      // of the requirements that its subtests name
}
