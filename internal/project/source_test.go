package project_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// dir is the folder, "." for the root.
func (s *source) dir() string { return filepath.ToSlash(filepath.Dir(s.path)) }

func (s *source) line(pos token.Pos) int { return s.fset.Position(pos).Line }

// sources parses every Go file of every module.
func sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	walk(t, func(path, text string) {
		if !strings.HasSuffix(path, ".go") {
			return
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &source{path, text, file, fset})
	})
	if len(all) < 50 {
		t.Fatalf("found %d Go files only", len(all))
	}
	return all
}

// walk reads every file but those of git and what is downloaded or built.
func walk(t *testing.T, f func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch rel {
			case ".git", ".peers", "coverage":
				return filepath.SkipDir
			}
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f(filepath.ToSlash(rel), string(data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
