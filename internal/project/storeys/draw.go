package storeys

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

// Drawing is packages above each other, and in each of them files on storeys.
type Drawing struct {
	// Packages are the packages, users before what they use.
	Packages []*Package

	// Files is how many files there are, Uses how many uses of one by another, of the
	// same package or not, and Back how many of these are by a file below.
	Files, Uses, Back int

	// Height is the most storeys of a package and packages beneath it, Whole how many
	// storeys all files would stand on if they were of one package.
	Height, Whole int
}

// Package is the files of one package.
type Package struct {
	// Name is its folder, and Beneath how many packages are under it, one above the
	// other.
	Name    string
	Beneath int

	// Storey is for each file where it stands, from 1 at the bottom, and Storeys how
	// many there are.
	Storey  map[string]int
	Storeys int

	// Back is for each file the files above it that it uses.
	Back map[string][]string

	// Uses is how many uses there are of one of its files by another.
	Uses int

	order []string // users before what they use, as far as possible
}

// Draw draws packages. Between packages no use runs back up, because Go lets no two
// import each other.
func Draw(g Graph) *Drawing {
	d := &Drawing{Files: len(g), Whole: build("", g).Storeys}
	within := make(map[string]Graph)
	above := make(Graph) // of packages
	for file, used := range g {
		in := path.Dir(file)
		if within[in] == nil {
			within[in], above[in] = make(Graph), make(map[string]bool)
		}
		within[in][file] = make(map[string]bool)
		for u := range used {
			d.Uses++
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
		h.Beneath = tower.Storey[name] - 1
		d.Packages = append(d.Packages, h)
		d.Back += h.BackUp()
		d.Height = max(d.Height, h.Storeys+h.Beneath)
	}
	return d
}

// build puts files on storeys.
func build(name string, g Graph) *Package {
	h := &Package{Name: name, order: arrange(g), Storey: make(map[string]int), Back: make(map[string][]string)}
	at := make(map[string]int)
	for i, file := range h.order {
		at[file] = i
	}
	for _, file := range slices.Backward(h.order) {
		highest := 0
		for _, used := range slices.Sorted(maps.Keys(g[file])) {
			h.Uses++
			if at[used] < at[file] {
				h.Back[file] = append(h.Back[file], used)
			} else {
				highest = max(highest, h.Storey[used])
			}
		}
		h.Storey[file] = highest + 1
		h.Storeys = max(h.Storeys, highest+1)
	}
	return h
}

// BackUp is how many uses run back up.
func (h *Package) BackUp() (n int) {
	for _, up := range h.Back {
		n += len(up)
	}
	return n
}

// Print writes the drawing, the highest package and its highest storey first.
func (d *Drawing) Print(w io.Writer) {
	for _, h := range d.Packages {
		fmt.Fprintf(w, "%s: files %d, storeys %d, uses among them %d, back up %d, packages beneath %d\n",
			h.Name, len(h.order), h.Storeys, h.Uses, h.BackUp(), h.Beneath)
		files := slices.Clone(h.order)
		slices.SortStableFunc(files, func(a, b string) int {
			return cmp.Or(h.Storey[b]-h.Storey[a], strings.Compare(a, b))
		})
		for _, file := range files {
			fmt.Fprintf(w, "%3d  %s", h.Storey[file], path.Base(file))
			if up := h.Back[file]; len(up) > 0 {
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
		d.Files, d.Uses, d.Back, d.Height, d.Whole)
}
