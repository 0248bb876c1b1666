package project_test

import (
	"go/ast"
	"go/doc"
	"slices"
	"strings"
	"testing"
)

// TestExamples: every constructor of a public package, that is a function that
// makes a value of the package's own and is not asked of an interface of its own,
// has an example that runs and says what it prints.
func TestExamples(t *testing.T) {
	nested := nestedModules(t)
	shown := make(map[string]bool)      // "folder Name", by an example with output
	interfaces := make(map[string]bool) // "folder Name"
	for _, s := range sources(t) {
		if !s.isTest() {
			ast.Inspect(s.file, func(n ast.Node) bool {
				if spec, ok := n.(*ast.TypeSpec); ok {
					_, interfaces[s.dir()+" "+spec.Name.Name] = spec.Type.(*ast.InterfaceType)
				}
				return true
			})
			continue
		}
		for _, e := range doc.Examples(s.file) {
			name, _, _ := strings.Cut(e.Name, "_")
			shown[s.dir()+" "+name] = shown[s.dir()+" "+name] || e.Output != "" || e.EmptyOutput
		}
	}
	found := 0
	for _, s := range sources(t) {
		if s.isTest() || strings.Contains("/"+s.path, "/internal/") || slices.ContainsFunc(nested, func(dir string) bool { return within(s.dir(), dir) }) {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !constructs(f, func(name string) bool { return interfaces[s.dir()+" "+name] }) {
				continue
			}
			found++
			if !shown[s.dir()+" "+f.Name.Name] {
				t.Errorf("%s has no example with output", s.finding(f.Pos(), "%s", f.Name.Name))
			}
		}
	}
	if found < 5 {
		t.Errorf("found %d constructors only", found)
	}
}

// constructs reports whether a function is exported, no method, has a type declared
// in its package as its first result, and no parameter that is an interface of it.
func constructs(f *ast.FuncDecl, isInterface func(name string) bool) bool {
	if f.Recv != nil || !f.Name.IsExported() || f.Type.Results.NumFields() == 0 {
		return false
	}
	for _, p := range f.Type.Params.List {
		if name, ok := p.Type.(*ast.Ident); ok && isInterface(name.Name) {
			return false
		}
	}
	result := f.Type.Results.List[0].Type
	if star, ok := result.(*ast.StarExpr); ok {
		result = star.X
	}
	name, ok := result.(*ast.Ident)
	return ok && name.IsExported()
}
