package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDrawing draws a module in which a file of one package uses one above it.
func TestDrawing(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module a.test\n\ngo 1.26\n",
		"a/doc.go": `// Package a is the top.
package a`,
		"a/top.go": `package a

import "a.test/a/inner"

type top struct{ inner.T }

func (t *top) run() { t.T.Do(); t.help() }`,
		"a/help.go": `package a

import "strings"

func (t *top) help() { strings.ToUpper("x"); helped() }`,
		"a/helped.go": "package a\n\nfunc helped() {}",
		"a/inner/t.go": `package inner

// T is used.
type T struct{}

// Do does.
func (T) Do() { u() }`,
		"a/inner/u.go":      "package inner\n\nfunc u() {}",
		"a/inner/u_test.go": "package inner\n\nvar _ = T{}",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var b strings.Builder
	if err := run([]string{"-root", root, "./a/..."}, &b); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"a: files 4, storeys 2, uses among them 3, back up 1, packages beneath 1",
		"  2  help.go",
		"  1  doc.go",
		"  1  helped.go",
		"  1  top.go  1 back up: help.go",
		"",
		"a/inner: files 2, storeys 2, uses among them 1, back up 0, packages beneath 0",
		"  2  t.go",
		"  1  u.go",
		"",
		"all: files 6, uses 5, back up 1, storeys and packages beneath 3, storeys from file to file 3",
		"",
	}, "\n")
	if b.String() != want {
		t.Errorf("drawn:\n%s\nwant:\n%s", &b, want)
	}
}

// TestDrawingFails: what does not compile is not drawn.
func TestDrawingFails(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module a.test\n", "a.go": "package a\n\nvar x y\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := run([]string{"-root", root, "."}, new(strings.Builder)); err == nil {
		t.Error("no error")
	}
}

func TestBuild(t *testing.T) {
	for _, c := range []struct {
		name    string
		uses    string // "ab" is a that uses b
		files   string
		back    int
		storeys int
	}{
		{"nothing", "", "", 0, 0},
		{"a chain", "ca ab", "abc", 0, 3},
		{"two users of one", "ac bc", "abc", 0, 2},
		{"a pair", "ab ba", "ab", 1, 2},
		{"a ring", "ab bc cd da", "abcd", 1, 4},
		{"a ring with a shortcut", "ab bc cd da ac bd", "abcd", 1, 4},
		{"two rings, one above the other", "ab ba cd dc bc", "abcd", 2, 2},
		{"a file in two rings", "ab ba bc cb", "abc", 2, 2},
		{"one above a ring and one below", "xa ab bc ca by", "abcxy", 1, 3},
		{"all use each other", "ab ac ba bc ca cb", "abc", 3, 3},
		{"two rings of three with a file in common, and a shortcut", "ab bc ca ad de ea eb", "abcde", 2, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := make(graph)
			for _, use := range strings.Fields(c.uses) {
				for _, file := range strings.Split(use, "") {
					if g[file] == nil {
						g[file] = make(map[string]bool)
					}
				}
				g[use[:1]][use[1:]] = true
			}
			d := build("", g)
			for file, up := range d.back {
				for _, used := range up {
					if slices.Index(d.order, used) > slices.Index(d.order, file) {
						t.Errorf("%s is below %s in %q", used, file, d.order)
					}
				}
			}
			if back := d.backUp(); back != c.back {
				t.Errorf("%d uses run back up in %q, want %d", back, d.order, c.back)
			}
			if d.storeys != c.storeys {
				t.Errorf("%q stand on %d storeys, want %d", d.order, d.storeys, c.storeys)
			}
			sorted := slices.Sorted(slices.Values(d.order))
			if got := strings.Join(sorted, ""); got != c.files {
				t.Errorf("drawn are %q, want %q", got, c.files)
			}
			for file, used := range g {
				for u := range used {
					if !slices.Contains(d.back[file], u) && d.storey[file] <= d.storey[u] {
						t.Errorf("%s on storey %d uses %s on %d", file, d.storey[file], u, d.storey[u])
					}
				}
			}
		})
	}
}
