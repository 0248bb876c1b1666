package project_test

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

func checkInit(files []*source) (findings []string) {
	for _, s := range files {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				findings = append(findings, s.finding(f.Pos(), "an init function"))
			}
		}
	}
	return findings
}

// checkVariables lets package variables be constants in all but name: errors,
// tables, compiled expressions, and pools of memory. They begin with a value of
// that kind, and nothing in the package changes them.
func checkVariables(files []*source) (findings []string) {
	variables := make(map[string]*ast.ValueSpec)
	for _, s := range files {
		if s.isTest() {
			continue
		}
		for _, d := range s.file.Decls {
			if d, ok := d.(*ast.GenDecl); ok && d.Tok == token.VAR {
				findings = append(findings, declared(s, d, variables)...)
			}
		}
	}
	for _, s := range files {
		ast.Inspect(s.file, func(n ast.Node) bool {
			for _, x := range changed(n) {
				id := base(x)
				if id == nil {
					continue
				}
				spec := variables[id.Name]
				if spec != nil && (id.Obj == nil || id.Obj.Decl == spec) {
					findings = append(findings, s.finding(n.Pos(), "package variable %s is changed", id.Name))
				}
			}
			return true
		})
	}
	return findings
}

// declared notes the variables of a declaration, and finds those that are no
// constants.
func declared(s *source, d *ast.GenDecl, variables map[string]*ast.ValueSpec) (findings []string) {
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		for i, n := range v.Names {
			if n.Name == "_" {
				continue
			}
			variables[n.Name] = v
			if !embedded(d.Doc) && (i >= len(v.Values) || !constant(v.Values[i])) {
				findings = append(findings, s.finding(n.Pos(), "package variable %s", n.Name))
			}
		}
	}
	return findings
}

// embedded reports whether a comment has the compiler fill in a file of the repository.
func embedded(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// constant reports whether an initial value looks like one that stays.
func constant(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.CallExpr: // errors.New, regexp.MustCompile, crc32.MakeTable
		f, ok := x.Fun.(*ast.Ident)
		return !ok || f.Name != "make" && f.Name != "new"
	case *ast.UnaryExpr:
		return x.Op == token.AND && constant(x.X)
	case *ast.CompositeLit:
		t, ok := x.Type.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := t.X.(*ast.Ident)
		return ok && (pkg.Name != "sync" || t.Sel.Name == "Pool") && pkg.Name != "atomic"
	}
	return false
}

// changed are the expressions whose value a node changes, or lets others change.
func changed(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			return []ast.Expr{n.X}
		}
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "delete" || f.Name == "clear" || f.Name == "copy") && len(n.Args) > 0 {
			return n.Args[:1]
		}
	}
	return nil
}

// base is the variable that x is or is part of, nil if it is none of a name.
func base(x ast.Expr) *ast.Ident {
	for {
		switch y := x.(type) {
		case *ast.Ident:
			return y
		case *ast.SelectorExpr:
			x = y.X
		case *ast.IndexExpr:
			x = y.X
		case *ast.SliceExpr:
			x = y.X
		case *ast.StarExpr:
			x = y.X
		case *ast.ParenExpr:
			x = y.X
		default:
			return nil
		}
	}
}
