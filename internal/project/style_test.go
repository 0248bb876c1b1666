package project_test

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/project"
)

// maxLines is how long a file may be; one subject needs no more.
const maxLines = 600

func TestFileLength(t *testing.T) {
	for _, s := range sources(t) {
		if n := strings.Count(s.text, "\n"); n > maxLines {
			t.Errorf("%s has %d lines, more than %d: it has a second subject", s.path, n, maxLines)
		}
	}
}

// TestDocumented: every exported name says what it is.
func TestDocumented(t *testing.T) {
	packages := map[string]bool{}
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		packages[s.dir()] = packages[s.dir()] || s.file.Doc != nil
		for _, d := range s.file.Decls {
			for _, name := range undocumented(d) {
				t.Errorf("%s:%d: %s has no doc comment", s.path, s.line(d.Pos()), name)
			}
		}
	}
	for dir, documented := range packages {
		if !documented {
			t.Errorf("package %s has no doc comment", dir)
		}
	}
}

// undocumented are the exported names of a declaration without a comment. One
// on a group speaks for its members.
func undocumented(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil {
					names = append(names, spec.Name.Name)
				}
			case *ast.ValueSpec:
				for _, n := range spec.Names {
					if n.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if generic, ok := t.(*ast.IndexExpr); ok {
		t = generic.X
	}
	name, ok := t.(*ast.Ident)
	return !ok || name.IsExported()
}

// TestNoHiddenState: no init functions, and package variables only where they
// are constants in all but name: errors, tables, compiled expressions, pools.
func TestNoHiddenState(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					t.Errorf("%s:%d: an init function", s.path, s.line(d.Pos()))
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR {
					checkVars(t, s, d)
				}
			}
		}
	}
}

func checkVars(t *testing.T, s *source, d *ast.GenDecl) {
	t.Helper()
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		for i, n := range v.Names {
			if n.Name == "_" || i < len(v.Values) && constant(v.Values[i]) {
				continue
			}
			t.Errorf("%s:%d: package variable %s: state belongs to a value somebody owns", s.path, s.line(n.Pos()), n.Name)
		}
	}
}

// constant reports whether nobody has a reason to change a value.
func constant(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.CallExpr:
		return true // errors.New, regexp.MustCompile, crc32.MakeTable, ...
	case *ast.UnaryExpr:
		return x.Op == token.AND // a sentinel
	case *ast.CompositeLit:
		switch t := x.Type.(type) {
		case *ast.ArrayType, *ast.StructType:
			return true
		case *ast.SelectorExpr:
			return t.Sel.Name == "Pool"
		case *ast.MapType:
			return true
		case *ast.Ident:
			return true
		}
	}
	return false
}

// TestTests: no luck in tests, and none that skips.
func TestTests(t *testing.T) {
	sleep, skip := "time."+"Sleep(", regexp.MustCompile(`\b[tb]\.`+`Skip`)
	for _, s := range sources(t) {
		if !s.isTest() {
			continue
		}
		// In a bubble sleeping is virtual, and says what it means.
		if strings.Contains(s.text, sleep) && !strings.Contains(s.text, "testing/synctest") {
			t.Errorf("%s sleeps: virtual time or a channel says it better", s.path)
		}
		if skip.MatchString(s.text) {
			t.Errorf("%s skips: what is missing must fail", s.path)
		}
	}
}

// TestTexts: the tree speaks of nexthop alone.
func TestTexts(t *testing.T) {
	machine := regexp.MustCompile(`(^|[\s"'=(` + "`" + `])/(wo` + `rk|ho` + `me|ro` + `ot)/`)
	open := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	walk(t, func(path, text string) {
		if strings.HasSuffix(path, ".sum") {
			return
		}
		for i, line := range strings.Split(text, "\n") {
			if machine.MatchString(line) {
				t.Errorf("%s:%d: a path of some machine: %s", path, i+1, strings.TrimSpace(line))
			}
			if open.MatchString(line) {
				t.Errorf("%s:%d: left open: %s", path, i+1, strings.TrimSpace(line))
			}
		}
	})
}

// TestNumbers: a requirement that a test or a text names exists.
func TestNumbers(t *testing.T) {
	rows, err := project.Requirements(root)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, id := range rows {
		if known[id] {
			t.Errorf("%s stands twice in docs/requirements.md", id)
		}
		known[id] = true
	}
	if len(rows) != 226 {
		t.Errorf("%d requirements, want 226", len(rows))
	}
	reasons, err := project.NotShown(root)
	if err != nil {
		t.Fatal(err)
	}
	for id, reason := range reasons {
		if !known[id] || len(reason) < 20 {
			t.Errorf("docs/not-shown.md: %s with the reason %q", id, reason)
		}
	}
	for _, s := range sources(t) {
		if !s.isTest() {
			continue
		}
		for _, id := range project.IDs(s.text) {
			if !known[id] {
				t.Errorf("%s names %s, which is no requirement", s.path, id)
			}
		}
	}
}
