// Command cover lists the requirements that a test run has shown, from what
// `go test -json` printed. A requirement is shown by a subtest that has its
// number in its name, ran, and passed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/nexthop-mail/nexthop/internal/project"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cover:", err)
		os.Exit(1)
	}
}

func run(args []string, w io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: cover FILE... (the output of go test -json)")
	}
	shown := make(map[string]int)
	failed := 0
	for _, name := range args {
		n, err := read(name, shown)
		if err != nil {
			return err
		}
		failed += n
	}
	rows, err := project.Requirements(".")
	if err != nil {
		return err
	}
	reasons, err := project.NotShown(".")
	if err != nil {
		return err
	}
	report(w, rows, shown, reasons)
	if failed > 0 {
		fmt.Fprintf(w, "%d tests failed; what they were to show does not count\n", failed)
	}
	return nil
}

// event is one line of go test -json.
type event struct{ Action, Test string }

// read counts, by requirement, the subtests that passed, and those that failed.
func read(name string, shown map[string]int) (failed int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadBytes('\n')
		var e event
		if json.Unmarshal(line, &e) == nil && strings.Contains(e.Test, "/") {
			switch e.Action {
			case "pass":
				last := e.Test[strings.LastIndexByte(e.Test, '/')+1:]
				for _, id := range project.ID.FindAllString(strings.ReplaceAll(last, "_", " "), -1) {
					shown[id]++
				}
			case "fail":
				failed++
			}
		}
		if err == io.EOF {
			return failed, nil
		}
		if err != nil {
			return failed, err
		}
	}
}

// report prints, part by part, what was shown and what was not.
func report(w io.Writer, rows []string, shown map[string]int, reasons map[string]string) {
	var parts []string
	byPart := make(map[string][]string)
	for _, id := range rows {
		part, _, _ := strings.Cut(id, "-")
		if byPart[part] == nil {
			parts = append(parts, part)
		}
		byPart[part] = append(byPart[part], id)
	}
	total := 0
	for _, part := range parts {
		var open, argued []string
		n := 0
		for _, id := range byPart[part] {
			switch {
			case shown[id] > 0:
				n++
			case reasons[id] != "":
				argued = append(argued, id)
			default:
				open = append(open, id)
			}
		}
		total += n
		fmt.Fprintf(w, "%-5s %3d of %3d shown\n", part, n, len(byPart[part]))
		list(w, "argued in docs/not-shown.md", argued)
		list(w, "not shown", open)
	}
	fmt.Fprintf(w, "all   %3d of %3d shown\n", total, len(rows))
}

func list(w io.Writer, what string, ids []string) {
	if len(ids) > 0 {
		fmt.Fprintf(w, "      %s: %s\n", what, strings.Join(ids, " "))
	}
}
