package project_test

import (
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/project/storeys"
)

// TestDelivery draws delivery and what is inside it, which is to be read from the bottom
// to the top.
func TestDelivery(t *testing.T) {
	uses, err := storeys.Load(root, []string{"./delivery", "./delivery/internal/..."})
	if err != nil {
		t.Fatal(err)
	}
	packages := make(map[string]*storeys.Package)
	for _, h := range storeys.Draw(uses).Packages {
		packages[h.Name] = h
	}
	t.Run("no more storeys and uses that run back up than there were", func(t *testing.T) { testStoreys(t, packages) })
	t.Run("at most 38 files that are no tests in delivery itself", func(t *testing.T) {
		if n := len(packages["delivery"].Storey); n > 38 {
			t.Errorf("there are %d", n)
		}
	})
	for name, l := range lists() {
		t.Run("the files of "+name+" as "+l.text+" lists them", func(t *testing.T) { l.test(t, packages[name]) })
	}
}

// testStoreys compares the figures with the best there have been. If a change makes them
// better, the table follows.
func testStoreys(t *testing.T, packages map[string]*storeys.Package) {
	most := map[string]struct{ storeys, back int }{
		"delivery":                    {7, 3},
		"delivery/internal/attempt":   {8, 0},
		"delivery/internal/clock":     {1, 0},
		"delivery/internal/events":    {1, 0},
		"delivery/internal/goroutine": {1, 0},
		"delivery/internal/lease":     {1, 0},
		"delivery/internal/object":    {1, 0},
		"delivery/internal/reports":   {2, 0},
		"delivery/internal/sched":     {8, 0},
		"delivery/internal/session":   {7, 0},
		"delivery/internal/share":     {1, 0},
		"delivery/internal/sign":      {1, 0},
		"delivery/internal/trouble":   {1, 0},
		"delivery/internal/waiting":   {2, 0},
		"delivery/internal/web":       {1, 0},
	}
	for name, h := range packages {
		m, ok := most[name]
		if !ok {
			t.Errorf("%s is not in the table", name)
		}
		if h.Storeys > m.storeys || h.BackUp() > m.back {
			t.Errorf("%s has %d storeys, and %d uses run back up, want %d and %d at most (make drawing shows them)",
				name, h.Storeys, h.BackUp(), m.storeys, m.back)
		}
	}
}

// list is a text that tells readers on which storey files stand.
type list struct {
	text   string
	storey *regexp.Regexp // its number and its files
	file   *regexp.Regexp
}

// lists are the texts, by the packages they are about.
func lists() map[string]list {
	return map[string]list{
		"delivery": {
			"ARCHITECTURE.md", regexp.MustCompile(`(?m)^\| (\d+) \| ([^|]*) \|`), regexp.MustCompile("`(\\w+)`"),
		},
		"delivery/internal/sched": {
			"delivery/internal/sched/doc.go", regexp.MustCompile(`(?m)^//  (\d+)\. ((?:.*\n//     )*.*)$`), regexp.MustCompile(`(\w+)\.go`),
		},
	}
}

// test compares a list with where files stand.
func (l *list) test(t *testing.T, h *storeys.Package) {
	text, err := os.ReadFile(path.Join(root, l.text))
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]int)
	for _, found := range l.storey.FindAllStringSubmatch(string(text), -1) {
		storey, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range l.file.FindAllStringSubmatch(found[2], -1) {
			listed[file[1]] = storey
		}
	}
	for _, file := range slices.Sorted(maps.Keys(h.Storey)) {
		name := strings.TrimSuffix(path.Base(file), ".go")
		if name != "doc" && listed[name] != h.Storey[file] {
			t.Errorf("%s stands on storey %d, and is listed on %d", file, h.Storey[file], listed[name])
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("%s.go is listed, and is not there", name)
	}
}
