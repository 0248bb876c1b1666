package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// report prints what became of the mutants, and compares the survivors with those
// that are accepted.
func report(w io.Writer, mutants []*mutant, accepted string) error {
	reasons, err := readAccepted(accepted)
	if err != nil {
		return err
	}
	counts := make(map[outcome]int)
	open := 0
	for _, m := range mutants {
		counts[m.outcome]++
		if m.outcome != survived && m.outcome != unreached {
			continue
		}
		if _, ok := reasons[m.name()]; ok {
			reasons[m.name()] = ""
			continue
		}
		open++
		fmt.Fprintf(w, "%s:%d: %s: %s (%s)\n", m.file, m.line, m.in, m.what, m.outcome)
	}
	fmt.Fprintf(w, "%d killed, %d hung, %d survived, %d reached by no test; %d survivors have no reason\n",
		counts[killed], counts[hung], counts[survived], counts[unreached], open)
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		if reasons[name] != "" && wasTried(mutants, name) {
			open++
			fmt.Fprintf(w, "has a reason and is no survivor: %s\n", name)
		}
	}
	if open > 0 {
		return errSurvivors
	}
	return nil
}

// wasTried reports whether the accepted survivor of that name is of a file that was
// broken, and not one that was left out of the run.
func wasTried(mutants []*mutant, name string) bool {
	left := slices.ContainsFunc(mutants, func(m *mutant) bool { return m.outcome == untried && m.name() == name })
	return !left && concerns(mutants, name)
}

// concerns reports whether the accepted survivor of that name is of a file that was
// broken.
func concerns(mutants []*mutant, name string) bool {
	return slices.ContainsFunc(mutants, func(m *mutant) bool { return strings.HasPrefix(name, m.file+" ") })
}

// readAccepted reads the file of accepted survivors: the name of one, and in the
// next line, which begins with a blank, why it may stay. Lines with # are comments.
func readAccepted(file string) (map[string]string, error) {
	reasons := make(map[string]string)
	if file == "" {
		return reasons, nil
	}
	in, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return reasons, nil
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var name string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.TrimSpace(line) == "" || line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if name == "" {
				return nil, fmt.Errorf("%s: a reason for nothing: %s", file, line)
			}
			reasons[name], name = strings.TrimSpace(line), ""
		case name != "":
			return nil, fmt.Errorf("%s: no reason for: %s", file, name)
		default:
			name = line
		}
	}
	if name != "" {
		return nil, fmt.Errorf("%s: no reason for: %s", file, name)
	}
	return reasons, lines.Err()
}

// readSurvivors reads the names of the survivors in what an earlier run has printed.
func readSurvivors(file string) (map[string]bool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool)
	line := regexp.MustCompile(`(?m)^(\S+):[0-9]+: (.*) \((` + survived.String() + "|" + unreached.String() + `)\)$`)
	for _, found := range line.FindAllStringSubmatch(string(text), -1) {
		names[found[1]+" "+found[2]] = true
	}
	return names, nil
}
