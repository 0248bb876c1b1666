package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// loaded is a package with its syntax and types.
type loaded struct {
	dir   string // of the package, absolute
	name  string
	path  string
	set   *token.FileSet
	files []*ast.File
	texts [][]byte // of files, in the same order
	info  *types.Info
}

// listed is what the go command says of a package.
type listed struct {
	ImportPath, Dir, Name, Export string
	GoFiles                       []string
	DepOnly                       bool
}

// load reads the packages of o. What they import comes from the export data of
// the build cache.
func load(ctx context.Context, o options) ([]*loaded, error) {
	args := append([]string{"list", "-export", "-deps", "-json=ImportPath,Dir,Name,Export,GoFiles,DepOnly"}, o.packages...)
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir, command.Stderr = o.dir, os.Stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	exports := make(map[string]string)
	var wanted []listed
	for in := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := in.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[l.ImportPath] = l.Export
		if !l.DepOnly {
			wanted = append(wanted, l)
		}
	}
	set := token.NewFileSet()
	imports := importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	var all []*loaded
	for _, l := range wanted {
		p, err := l.load(set, imports)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.ImportPath, err)
		}
		all = append(all, p)
	}
	return all, nil
}

func (l listed) load(set *token.FileSet, imports types.Importer) (*loaded, error) {
	p := &loaded{dir: l.Dir, name: l.Name, path: l.ImportPath, set: set, info: &types.Info{Types: make(map[ast.Expr]types.TypeAndValue)}}
	for _, name := range l.GoFiles {
		file := filepath.Join(l.Dir, name)
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		parsed, err := parser.ParseFile(set, file, text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		p.files, p.texts = append(p.files, parsed), append(p.texts, text)
	}
	config := types.Config{Importer: imports}
	_, err := config.Check(l.ImportPath, set, p.files, p.info)
	return p, err
}
