package project_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// root is the repository.
const root = "../.."

// source is one Go file.
type source struct {
	path string // from the root, with slashes
	text string
	file *ast.File
	fset *token.FileSet
}

func parse(path, text string) (*source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, text, parser.ParseComments)
	return &source{path, text, file, fset}, err
}

func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// dir is the folder, "." for the root.
func (s *source) dir() string { return path.Dir(s.path) }

// finding is what is wrong at a place of the file.
func (s *source) finding(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", s.path, s.fset.Position(pos).Line, fmt.Sprintf(format, args...))
}

// text is one file of the repository.
type text struct{ path, content string }

// texts reads every file but those of git and what is downloaded or built.
var texts = sync.OnceValues(func() (all []text, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch rel {
		case ".git", ".peers", "coverage":
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil // a work tree beside another has files of these names
		}
		if d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		all = append(all, text{filepath.ToSlash(rel), string(data)})
		return nil
	})
	return all, err
})

// walk gives f every file.
func walk(t *testing.T, f func(path, text string)) {
	t.Helper()
	all, err := texts()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		f(file.path, file.content)
	}
}

var parsed = sync.OnceValues(func() ([]*source, error) {
	files, err := texts()
	if err != nil {
		return nil, err
	}
	var all []*source
	for _, file := range files {
		if !strings.HasSuffix(file.path, ".go") {
			continue
		}
		s, err := parse(file.path, file.content)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
})

// sources are the Go files of every module.
func sources(t *testing.T) []*source {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("found %d Go files only", len(all))
	}
	return all
}
