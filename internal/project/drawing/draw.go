package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// drawing is files on storeys.
type drawing struct {
	order  []string            // users before what they use, as far as possible
	storey map[string]int      // from 1 at the bottom
	back   map[string][]string // for each file, the files above it that it uses
	uses   int
}

// draw puts files on storeys.
func draw(g graph) *drawing {
	d := &drawing{order: arrange(g), storey: make(map[string]int), back: make(map[string][]string)}
	at := make(map[string]int)
	for i, file := range d.order {
		at[file] = i
	}
	for _, file := range slices.Backward(d.order) {
		highest := 0
		for _, used := range slices.Sorted(maps.Keys(g[file])) {
			d.uses++
			if at[used] < at[file] {
				d.back[file] = append(d.back[file], used)
			} else {
				highest = max(highest, d.storey[used])
			}
		}
		d.storey[file] = highest + 1
	}
	return d
}

// arrange puts files in an order in which few of them use one before them. Those
// that do not use each other in a circle have none: users come before what they use.
// Names decide between equals, so that the same code has the same order.
func arrange(g graph) (order []string) {
	for _, circle := range circles(g) {
		within := make(graph)
		for _, file := range circle {
			within[file] = maps.Clone(g[file])
			maps.DeleteFunc(within[file], func(used string, _ bool) bool { return !slices.Contains(circle, used) })
		}
		order = append(order, sift(within, unroll(within))...)
	}
	return order
}

// circles are the files by whom they use each other with, directly or by way of
// others (Tarjan's algorithm), users before what they use.
func circles(g graph) (list [][]string) {
	type mark struct{ number, lowest int }
	var (
		marks = make(map[string]*mark)
		stack []string
		visit func(file string) *mark
	)
	visit = func(file string) *mark {
		m := &mark{len(marks), len(marks)}
		marks[file] = m
		stack = append(stack, file)
		for _, used := range slices.Sorted(maps.Keys(g[file])) {
			if marks[used] == nil {
				m.lowest = min(m.lowest, visit(used).lowest)
			} else if slices.Contains(stack, used) {
				m.lowest = min(m.lowest, marks[used].number)
			}
		}
		if m.lowest == m.number {
			from := slices.Index(stack, file)
			circle := slices.Sorted(slices.Values(stack[from:]))
			stack = stack[:from]
			list = append(list, circle)
		}
		return m
	}
	for _, file := range slices.Sorted(maps.Keys(g)) {
		if marks[file] == nil {
			visit(file)
		}
	}
	slices.Reverse(list)
	return list
}

// unroll is a first order for the files of a circle: what nobody uses comes first
// and what uses nothing last; else the file is next that uses most of the others and
// is used by fewest (Eades, Lin and Smyth's heuristic for feedback arcs).
func unroll(g graph) []string {
	left := slices.Sorted(maps.Keys(g))
	uses, users := make(graph), make(graph)
	for file := range g {
		uses[file], users[file] = maps.Clone(g[file]), make(map[string]bool)
	}
	for file, used := range g {
		for u := range used {
			users[u][file] = true
		}
	}
	remove := func(file string) {
		left = slices.DeleteFunc(left, func(s string) bool { return s == file })
		for u := range uses[file] {
			delete(users[u], file)
		}
		for u := range users[file] {
			delete(uses[u], file)
		}
	}
	var first, last []string
	for len(left) > 0 {
		if i := slices.IndexFunc(left, func(s string) bool { return len(uses[s]) == 0 }); i >= 0 {
			last = append(last, left[i])
			remove(left[i])
			continue
		}
		next := slices.MaxFunc(left, func(a, b string) int {
			return cmp.Or(
				cmp.Compare(b2i(len(users[a]) == 0), b2i(len(users[b]) == 0)),
				cmp.Compare(len(uses[a])-len(users[a]), len(uses[b])-len(users[b])),
			)
		})
		first = append(first, next)
		remove(next)
	}
	slices.Reverse(last)
	return append(first, last...)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sift moves one file after the other to the place where fewest uses run back, as
// long as that makes them fewer.
func sift(g graph, order []string) []string {
	for better := true; better; {
		better = false
		for _, file := range slices.Clone(order) {
			from := slices.Index(order, file)
			// saved is how many fewer run back with the file at a place than now.
			most, to := 0, from
			for step := -1; step <= 1; step += 2 {
				saved := 0
				for at := from + step; at >= 0 && at < len(order); at += step {
					saved += step * (b2i(g[order[at]][file]) - b2i(g[file][order[at]]))
					if saved > most {
						most, to = saved, at
					}
				}
			}
			if most > 0 {
				order = slices.Insert(slices.Delete(order, from, from+1), to, file)
				better = true
			}
		}
	}
	return order
}

// print writes the drawing, the highest storey first.
func (d *drawing) print(w io.Writer) {
	files := slices.Clone(d.order)
	slices.SortStableFunc(files, func(a, b string) int {
		return cmp.Or(d.storey[b]-d.storey[a], strings.Compare(a, b))
	})
	back := 0
	for _, file := range files {
		back += len(d.back[file])
		fmt.Fprintf(w, "%3d  %s", d.storey[file], file)
		if up := d.back[file]; len(up) > 0 {
			fmt.Fprintf(w, "  %d back up: %s", len(up), strings.Join(up, " "))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%d files on %d storeys, %d uses, %d of them back up\n", len(files), d.storeys(), d.uses, back)
}

func (d *drawing) storeys() (n int) {
	for _, s := range d.storey {
		n = max(n, s)
	}
	return n
}
