//go:build linux

package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// row is one measure: what each candidate made of it in every round, and what is
// promised of nexthop.
type row struct {
	name, unit string
	figures    map[string][]float64 // by candidate
	gate       gate
}

// gate is a promise. The zero gate is none.
type gate struct {
	over  string  // the candidate that it is relative to; empty for an absolute one
	or    string  // another one: it is relative to the better of both; empty is none
	least bool    // at least the bound, not at most
	bound float64 // of the figure, or of its ratio to the other's
}

func atMost(bound float64) gate  { return gate{bound: bound} }
func atLeast(bound float64) gate { return gate{least: true, bound: bound} }

// median is the middle of what a candidate made, and whether it made anything.
func (r *row) median(candidate string) (float64, bool) {
	f := slices.Sorted(slices.Values(r.figures[candidate]))
	if len(f) == 0 {
		return 0, false
	}
	return (f[(len(f)-1)/2] + f[len(f)/2]) / 2, true
}

func (g gate) String() string {
	if g == (gate{}) {
		return ""
	}
	words := "<= "
	if g.least {
		words = ">= "
	}
	words += fmt.Sprintf("%.3g", g.bound)
	if g.over != "" {
		words += " x " + g.over
	}
	if g.or != "" {
		words += " or " + g.or
	}
	return words
}

// verdict is "pass" or "FAIL", or empty where nothing is promised. A figure that
// is missing keeps no promise.
func (r *row) verdict() string {
	if r.gate == (gate{}) {
		return ""
	}
	got, ok := r.median(nexthop)
	if r.gate.over != "" && ok {
		var other float64
		other, ok = r.median(r.gate.over)
		if second, there := r.median(r.gate.or); there && (second > other) == r.gate.least {
			other = second
		}
		got /= other
	}
	if ok && (r.gate.least && got >= r.gate.bound || !r.gate.least && got <= r.gate.bound) {
		return "pass"
	}
	return "FAIL"
}

// table is all measures in the order in which they are shown.
type table []*row

// add notes what a candidate made of a measure in one round.
func (t *table) add(name, unit, candidate string, figure float64, g gate) {
	i := slices.IndexFunc(*t, func(r *row) bool { return r.name == name && r.unit == unit })
	if i < 0 {
		*t = append(*t, &row{name: name, unit: unit, figures: make(map[string][]float64)})
		i = len(*t) - 1
	}
	r := (*t)[i]
	r.figures[candidate] = append(r.figures[candidate], figure)
	if candidate == nexthop {
		r.gate = g
	}
}

// columns are the candidates that the table shows, and the bare sources.
var columns = [...]string{nexthop, postfix, reusing, exim, bareGo, bare}

// The bare sources, straight to the sink: one in Go, and smtp-source.
const (
	bareGo = "bare Go"
	bare   = "smtp-source"
)

// write writes the medians as a table in Markdown.
func (t *table) write(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "| measure\t| unit\t| %s\t| promised\t|\t|\n", strings.Join(columns[:], "\t| "))
	fmt.Fprintf(w, "| ---\t| ---\t%s| ---\t| ---\t|\n", strings.Repeat("| ---:\t", len(columns)))
	for _, r := range *t {
		fmt.Fprintf(w, "| %s\t| %s\t", r.name, r.unit)
		for _, c := range columns {
			cell := ""
			if m, ok := r.median(c); ok {
				cell = number(m)
			}
			fmt.Fprintf(w, "| %s\t", cell)
		}
		fmt.Fprintf(w, "| %s\t| %s\t|\n", r.gate, r.verdict())
	}
	return w.Flush()
}

// number writes a figure with three digits that mean something.
func number(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	case f >= 1:
		return fmt.Sprintf("%.2f", f)
	}
	return fmt.Sprintf("%.3g", f)
}

// broken are the measures whose promise was not kept.
func (t *table) broken() (names []string) {
	for _, r := range *t {
		if r.verdict() == "FAIL" {
			names = append(names, fmt.Sprintf("%s, %s: promised is %s", r.name, r.unit, r.gate))
		}
	}
	return names
}
