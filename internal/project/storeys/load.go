package storeys

import (
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
	"strings"
)

// Graph is for each file the other files that it uses.
type Graph map[string]map[string]bool

// listed is what the go command says of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	DepOnly                 bool
}

// Load reads the packages that patterns name, which are the go command's; root is a folder
// of their module. What they import beside is read from what the compiler has made of it.
func Load(root string, patterns []string) (Graph, error) {
	list, err := goList(root, patterns)
	if err != nil {
		return nil, err
	}
	l := &loader{
		fset: token.NewFileSet(), root: root, uses: make(Graph), done: make(map[string]*types.Package),
		exports: make(map[string]string), own: make(map[string]bool), files: make(map[string]string),
	}
	for i := range list {
		l.exports[list[i].ImportPath] = list[i].Export
		l.own[list[i].ImportPath] = !list[i].DepOnly
	}
	l.compiled = importer.ForCompiler(l.fset, "gc", l.open)
	for i := range list { // dependencies come first
		if p := &list[i]; !p.DepOnly {
			if err := l.check(p); err != nil {
				return nil, err
			}
		}
	}
	return l.uses, nil
}

func goList(root string, patterns []string) (list []listed, err error) {
	cmd := exec.Command("go", append([]string{"list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,DepOnly"}, patterns...)...)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, err
		}
		list = append(list, p)
	}
}

// loader checks packages in the order of their dependencies.
type loader struct {
	fset     *token.FileSet
	root     string
	uses     Graph
	files    map[string]string         // by their full path, as the Drawing calls them
	exports  map[string]string         // what the compiler has made of a package
	own      map[string]bool           // to be drawn
	done     map[string]*types.Package // drawn
	compiled types.Importer
}

// Import returns a package that is drawn as it was read, so that its declarations
// have their places, and any other as it was compiled.
func (l *loader) Import(path string) (*types.Package, error) {
	if p := l.done[path]; p != nil {
		return p, nil
	}
	return l.compiled.Import(path)
}

func (l *loader) open(path string) (io.ReadCloser, error) { return os.Open(l.exports[path]) }

// check reads one package and notes what its files use.
func (l *loader) check(p *listed) error {
	root, err := filepath.Abs(l.root)
	if err != nil {
		return err
	}
	var files []*ast.File
	for _, name := range p.GoFiles {
		path := filepath.Join(p.Dir, name)
		file, err := parser.ParseFile(l.fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		short, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		short = filepath.ToSlash(short)
		l.files[path], l.uses[short] = short, make(map[string]bool)
		files = append(files, file)
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	config := &types.Config{Importer: l}
	if l.done[p.ImportPath], err = config.Check(p.ImportPath, l.fset, files, info); err != nil {
		return err
	}
	for id, object := range info.Uses {
		from, to := l.file(id.Pos()), l.file(object.Pos())
		if _, isPackage := object.(*types.PkgName); !isPackage && to != "" && from != to {
			l.uses[from][to] = true
		}
	}
	return nil
}

// file is the drawn file of a place; "" where it is in none.
func (l *loader) file(pos token.Pos) string {
	if !pos.IsValid() {
		return ""
	}
	return l.files[l.fset.Position(pos).Filename]
}
