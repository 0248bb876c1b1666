package main

import (
	"os"
	"path/filepath"
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
