package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

// drawing is packages above each other, and in each of them files on storeys.
type drawing struct {
	packages []*house // users before what they use
	files    int
	uses     int // of one file by another, of the same package or not
	back     int // of these, by a file below
	height   int // the most storeys of a package and packages beneath it
	whole    int // storeys of all files, as if they were of one package
}

// house is a package.
type house struct {
	name    string
	beneath int                 // packages under it, one above the other
	order   []string            // users before what they use, as far as possible
	storey  map[string]int      // from 1 at the bottom
	back    map[string][]string // for each file, the files above it that it uses
	storeys int
	uses    int // of one of its files by another
}

// draw draws packages. Between packages no use runs back up, because Go lets no two
// import each other.
func draw(g graph) *drawing {
	d := &drawing{files: len(g), whole: build("", g).storeys}
	within := make(map[string]graph)
	above := make(graph) // of packages
	for file, used := range g {
		in := path.Dir(file)
		if within[in] == nil {
			within[in], above[in] = make(graph), make(map[string]bool)
		}
		within[in][file] = make(map[string]bool)
		for u := range used {
			d.uses++
			if path.Dir(u) == in {
				within[in][file][u] = true
			} else {
				above[in][path.Dir(u)] = true
			}
		}
	}
	tower := build("", above)
	for _, name := range tower.order {
		h := build(name, within[name])
		h.beneath = tower.storey[name] - 1
		d.packages = append(d.packages, h)
		d.back += h.backUp()
		d.height = max(d.height, h.storeys+h.beneath)
	}
	return d
}

// build puts files on storeys.
func build(name string, g graph) *house {
	h := &house{name: name, order: arrange(g), storey: make(map[string]int), back: make(map[string][]string)}
	at := make(map[string]int)
	for i, file := range h.order {
		at[file] = i
	}
	for _, file := range slices.Backward(h.order) {
		highest := 0
		for _, used := range slices.Sorted(maps.Keys(g[file])) {
			h.uses++
			if at[used] < at[file] {
				h.back[file] = append(h.back[file], used)
			} else {
				highest = max(highest, h.storey[used])
			}
		}
		h.storey[file] = highest + 1
		h.storeys = max(h.storeys, highest+1)
	}
	return h
}

// backUp is how many uses run back up.
func (h *house) backUp() (n int) {
	for _, up := range h.back {
		n += len(up)
	}
	return n
}

// print writes the drawing, the highest package and its highest storey first.
func (d *drawing) print(w io.Writer) {
	for _, h := range d.packages {
		fmt.Fprintf(w, "%s: files %d, storeys %d, uses among them %d, back up %d, packages beneath %d\n",
			h.name, len(h.order), h.storeys, h.uses, h.backUp(), h.beneath)
		files := slices.Clone(h.order)
		slices.SortStableFunc(files, func(a, b string) int {
			return cmp.Or(h.storey[b]-h.storey[a], strings.Compare(a, b))
		})
		for _, file := range files {
			fmt.Fprintf(w, "%3d  %s", h.storey[file], path.Base(file))
			if up := h.back[file]; len(up) > 0 {
				fmt.Fprintf(w, "  %d back up:", len(up))
				for _, used := range up {
					fmt.Fprintf(w, " %s", path.Base(used))
				}
			}
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "all: files %d, uses %d, back up %d, storeys and packages beneath %d, storeys from file to file %d\n",
		d.files, d.uses, d.back, d.height, d.whole)
}
