package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nexthop-mail/nexthop/internal/project"
)

// results are what a test run says of requirements.
type results struct {
	passed, failed map[string]int // subtests, by requirement
	tests          int            // that failed, of all
}

func newResults() *results {
	return &results{passed: make(map[string]int), failed: make(map[string]int)}
}

// event is one line of go test -json.
type event struct {
	Action string `json:"Action"`
	Test   string `json:"Test"`
}

// read notes the subtests in the output of go test -json. What is no event, such
// as the compiler's complaints, is passed over.
func (r *results) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		if json.Unmarshal(line, &e) == nil {
			r.note(&e)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *results) note(e *event) {
	if e.Test == "" {
		return
	}
	if e.Action == "fail" {
		r.tests++
	}
	slash := strings.LastIndexByte(e.Test, '/')
	if slash < 0 {
		return // a test; its subtests speak
	}
	for _, id := range project.IDs(strings.ReplaceAll(e.Test[slash:], "_", " ")) {
		switch e.Action {
		case "pass":
			r.passed[id]++
		case "fail":
			r.failed[id]++
		}
	}
}

func (r *results) shown(id string) bool { return r.passed[id] > 0 && r.failed[id] == 0 }

// report prints, part by part, which rows were shown, which are argued, and which
// are neither.
func (r *results) report(w io.Writer, rows []string, reasons map[string]string) {
	total, argued := 0, 0
	for len(rows) > 0 {
		part, rest := firstPart(rows)
		shown, waived, open := r.sort(part, reasons)
		name, _, _ := strings.Cut(part[0], "-")
		fmt.Fprintf(w, "%-5s %3d of %3d shown\n", name, shown, len(part))
		list(w, "argued in docs/not-shown.md", waived)
		list(w, "not shown", open)
		total, argued, rows = total+shown, argued+len(waived), rest
	}
	fmt.Fprintf(w, "all   %3d shown, %d argued\n", total, argued)
	if r.tests > 0 {
		fmt.Fprintf(w, "%d tests failed; a row with one among them does not count as shown\n", r.tests)
	}
}

// sort puts the rows of a part where they belong.
func (r *results) sort(part []string, reasons map[string]string) (shown int, waived, open []string) {
	for _, id := range part {
		switch {
		case r.shown(id):
			shown++
		case reasons[id] != "":
			waived = append(waived, id)
		default:
			open = append(open, id)
		}
	}
	return shown, waived, open
}

// firstPart are the rows that begin like the first, and the others.
func firstPart(rows []string) (part, rest []string) {
	name, _, _ := strings.Cut(rows[0], "-")
	n := 1
	for n < len(rows) && strings.HasPrefix(rows[n], name+"-") {
		n++
	}
	return rows[:n], rows[n:]
}

func list(w io.Writer, what string, ids []string) {
	if len(ids) > 0 {
		fmt.Fprintf(w, "      %s: %s\n", what, strings.Join(ids, " "))
	}
}
