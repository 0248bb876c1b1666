package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// coverage is, for each block of statements in a cover profile, how many they are
// and whether they ran. A profile over several packages has a block once per test
// binary.
type coverage map[string]block

type block struct {
	statements int
	ran        bool
}

// read reads a cover profile: a line with the mode, then lines of
// "package/file.go:from,to statements count".
func (c coverage) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 {
			continue // the mode
		}
		statements, err := strconv.Atoi(fields[1])
		if err != nil {
			return fmt.Errorf("no cover profile: %q", lines.Text())
		}
		c[fields[0]] = block{statements, c[fields[0]].ran || fields[2] != "0"}
	}
	return lines.Err()
}

// report prints the share of statements that ran, by package and in all.
func (c coverage) report(w io.Writer) {
	type sum struct{ ran, all int }
	packages := make(map[string]sum)
	var total sum
	for at, b := range c {
		file, _, _ := strings.Cut(at, ":")
		s := packages[path.Dir(file)]
		s.all, total.all = s.all+b.statements, total.all+b.statements
		if b.ran {
			s.ran, total.ran = s.ran+b.statements, total.ran+b.statements
		}
		packages[path.Dir(file)] = s
	}
	line := func(name string, s sum) {
		fmt.Fprintf(w, "%5.1f %% of statements reached in %s\n", 100*float64(s.ran)/float64(max(s.all, 1)), name)
	}
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		line(name, packages[name])
	}
	line("all", total)
}
