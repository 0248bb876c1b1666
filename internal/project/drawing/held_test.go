package main

import (
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// houses draws the packages of delivery, by name.
func houses(t *testing.T) map[string]*house {
	t.Helper()
	uses, err := load("../../..", []string{"./delivery", "./delivery/internal/..."})
	if err != nil {
		t.Fatal(err)
	}
	list := make(map[string]*house)
	for _, h := range draw(uses).packages {
		list[h.name] = h
	}
	return list
}

// TestStoreys: the files of delivery and of what is inside it stand on no more storeys
// than here, and no more of their uses run back up, so that each package can be read
// from the bottom to the top. If a change makes fewer of either, the table follows.
func TestStoreys(t *testing.T) {
	most := map[string]struct{ storeys, back int }{
		"delivery":                  {7, 3},
		"delivery/internal/attempt": {8, 0},
		"delivery/internal/clock":   {1, 0},
		"delivery/internal/reports": {2, 0},
		"delivery/internal/sched":   {8, 0},
		"delivery/internal/session": {7, 0},
		"delivery/internal/waiting": {1, 0},
	}
	for name, h := range houses(t) {
		m, ok := most[name]
		if !ok {
			t.Errorf("%s is not in the table", name)
		}
		if h.storeys > m.storeys || h.backUp() > m.back {
			t.Errorf("%s has %d storeys, and %d uses run back up; at most %d and %d are allowed (make drawing shows them)",
				name, h.storeys, h.backUp(), m.storeys, m.back)
		}
	}
}

// mostFiles is how many files package delivery may have that are no tests: it is read
// as a whole.
const mostFiles = 40

func TestFilesOfDelivery(t *testing.T) {
	if n := len(houses(t)["delivery"].order); n > mostFiles {
		t.Errorf("delivery has %d files that are no tests, want %d at most", n, mostFiles)
	}
}

// TestFilesAreListed: the lists of files by storey, in ARCHITECTURE.md and in the
// package comment of sched, say where files stand, and leave none out.
func TestFilesAreListed(t *testing.T) {
	for _, c := range []struct {
		name, text string
		line       *regexp.Regexp // of a storey: its number, and its files
		file       *regexp.Regexp
	}{
		{"delivery", "ARCHITECTURE.md", regexp.MustCompile(`(?m)^\| (\d+) \| ([^|]*) \|`), regexp.MustCompile("`(\\w+)`")},
		{
			"delivery/internal/sched", "delivery/internal/sched/doc.go",
			regexp.MustCompile(`(?m)^//  (\d+)\. ((?:.*\n//     )*.*)$`), regexp.MustCompile(`(\w+)\.go`),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := os.ReadFile(path.Join("../../..", c.text))
			if err != nil {
				t.Fatal(err)
			}
			listed := make(map[string]int)
			for _, l := range c.line.FindAllStringSubmatch(string(text), -1) {
				storey, err := strconv.Atoi(l[1])
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range c.file.FindAllStringSubmatch(l[2], -1) {
					listed[f[1]] = storey
				}
			}
			stands := make(map[string]int)
			for file, storey := range houses(t)[c.name].storey {
				stands[strings.TrimSuffix(path.Base(file), ".go")] = storey
			}
			delete(stands, "doc")
			for _, file := range slices.Sorted(maps.Keys(stands)) {
				if listed[file] != stands[file] {
					t.Errorf("%s.go stands on storey %d, %s says %d", file, stands[file], c.text, listed[file])
				}
				delete(listed, file)
			}
			for file := range listed {
				t.Errorf("%s lists %s.go, which is not there", c.text, file)
			}
		})
	}
}
