package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// rowsIn are the rows that the names of subtests have in those lines of a verbose
// test run that begin with mark, blanks aside.
func rowsIn(out []byte, mark string) []string {
	number := regexp.MustCompile(`\b(MX|SMTP|TLS|QUE|DSN|EXT|I18N)-[0-9]+\b`)
	var rows []string
	for line := range bytes.Lines(out) {
		name, ok := strings.CutPrefix(strings.TrimLeft(string(line), " "), mark)
		if !ok {
			continue
		}
		for _, row := range number.FindAllString(strings.ReplaceAll(name, "_", " "), -1) {
			if !slices.Contains(rows, row) {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// notices reports whether a subtest of the row fails on m.
func (s *suite) notices(ctx context.Context, m *mutant, row string) bool {
	tests := slices.DeleteFunc(slices.Clone(m.tests), func(t *test) bool { return !slices.Contains(t.rows, row) })
	slices.SortFunc(tests, func(a, b *test) int { return int(a.takes - b.takes) })
	for _, t := range tests {
		done := t.binary.runAll(ctx, t.name, s.limits(limits{t.takes, t.works}), "NEXTHOP_MUTANT="+strconv.Itoa(m.number))
		// A crash or a hang ends the test before its subtests can fail by themselves.
		crashed := !done.passed && !bytes.Contains(done.out, []byte("--- FAIL: "))
		if done.late || crashed || slices.Contains(rowsIn(done.out, "--- FAIL: "), row) {
			return true
		}
	}
	return false
}

// each calls do for every item with its place in the list, as many at once as there
// are workers.
func each[T any](workers int, items []T, do func(int, T)) {
	next := make(chan int)
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for i := range next {
				do(i, items[i])
			}
		})
	}
	for i := range items {
		next <- i
	}
	close(next)
	wait.Wait()
}

// lookAt prints which mutants that the tests of a row come by their subtests notice.
func (s *suite) lookAt(ctx context.Context, row string) error {
	reached := slices.DeleteFunc(slices.Clone(s.mutants), func(m *mutant) bool {
		return !slices.ContainsFunc(m.tests, func(t *test) bool { return slices.Contains(t.rows, row) })
	})
	var mu sync.Mutex
	caught := make(map[*mutant]bool)
	each(s.workers, reached, func(_ int, m *mutant) {
		if ctx.Err() == nil && s.notices(ctx, m, row) {
			mu.Lock()
			defer mu.Unlock()
			caught[m] = true
		}
	})
	for _, m := range reached {
		if caught[m] {
			fmt.Fprintf(s.out, "%s %s\n", row, m.name())
		}
	}
	fmt.Fprintf(s.out, "%d of %d mutants are noticed by the subtests of %s\n", len(caught), len(reached), row)
	return ctx.Err()
}

// clause is a line of the table: a mutant that breaks a row.
type clause struct{ row, name string }

// errClauses is the error of a table that does not hold.
var errClauses = errors.New("the subtests of a row do not notice that it is broken")

// checkClauses holds the tests to the table in a file, as far as it is about packages
// that are broken. Where several mutants have one name, the table calls the second of
// them so with " (2)" at the end, and so on.
func (s *suite) checkClauses(ctx context.Context, file string) error {
	table, err := readClauses(file)
	if err != nil {
		return err
	}
	byName, times := make(map[string]*mutant), make(map[string]int)
	for _, m := range s.mutants {
		name := m.name()
		if times[name]++; times[name] > 1 {
			name = fmt.Sprintf("%s (%d)", name, times[name])
		}
		byName[name] = m
	}
	table = slices.DeleteFunc(table, func(c clause) bool { return !concerns(s.mutants, c.name) })
	wrong := make([]string, len(table))
	each(s.workers, table, func(i int, c clause) {
		switch m := byName[c.name]; {
		case m == nil:
			wrong[i] = "there is no such mutant"
		case ctx.Err() == nil && !s.notices(ctx, m, c.row):
			wrong[i] = "not noticed"
		}
	})
	rows, open := make(map[string]bool), 0
	for i, c := range table {
		rows[c.row] = true
		if wrong[i] != "" {
			open++
			fmt.Fprintf(s.out, "%s: %s: %s\n", c.row, wrong[i], c.name)
		}
	}
	fmt.Fprintf(s.out, "%d clauses of %d rows, %d of them do not hold\n", len(table), len(rows), open)
	if open > 0 {
		return errClauses
	}
	return ctx.Err()
}

// readClauses reads a table: a row, a blank, and the name of a mutant in each line.
// Lines with # are comments.
func readClauses(file string) ([]clause, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var table []clause
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		row, name, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("%s: a row without a mutant: %s", file, line)
		}
		table = append(table, clause{row, strings.TrimSpace(name)})
	}
	return table, lines.Err()
}
