package project_test

import (
	"go/ast"
	"slices"
	"strings"
	"unicode"
)

// checkDocumented wants a comment on the package and on every exported name:
// functions, types and their methods, constants, variables.
func checkDocumented(files []*source) (findings []string) {
	library := slices.DeleteFunc(slices.Clone(files), (*source).isTest)
	if len(library) > 0 && !slices.ContainsFunc(library, func(s *source) bool { return s.file.Doc != nil }) {
		findings = append(findings, library[0].dir()+": package "+library[0].file.Name.Name+" has no comment")
	}
	for _, s := range library {
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) {
					findings = append(findings, s.finding(d.Pos(), "%s has no comment", d.Name.Name))
				}
			case *ast.GenDecl:
				findings = append(findings, undocumented(s, d)...)
			}
		}
	}
	return findings
}

// undocumented are the names of a declaration without a comment. One on a group
// speaks for its members.
func undocumented(s *source, d *ast.GenDecl) (findings []string) {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if !spec.Name.IsExported() {
				continue
			}
			if d.Doc == nil && spec.Doc == nil {
				findings = append(findings, s.finding(spec.Pos(), "%s has no comment", spec.Name.Name))
			}
			findings = append(findings, undocumentedMethods(s, d, spec)...)
		case *ast.ValueSpec:
			for _, n := range spec.Names {
				if n.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
					findings = append(findings, s.finding(n.Pos(), "%s has no comment", n.Name))
				}
			}
		}
	}
	return findings
}

// undocumentedMethods are the methods of an interface without a comment, unless
// the interface's own speaks of them.
func undocumentedMethods(s *source, d *ast.GenDecl, spec *ast.TypeSpec) (findings []string) {
	t, ok := spec.Type.(*ast.InterfaceType)
	if !ok || countNamed(t.Methods) < 2 {
		return nil // that of the interface is its comment
	}
	words := strings.FieldsFunc(d.Doc.Text()+spec.Doc.Text(), func(r rune) bool { return !unicode.IsLetter(r) })
	for _, m := range t.Methods.List {
		for _, n := range m.Names {
			if n.IsExported() && m.Doc == nil && m.Comment == nil && !slices.Contains(words, n.Name) {
				findings = append(findings, s.finding(n.Pos(), "%s.%s has no comment", spec.Name.Name, n.Name))
			}
		}
	}
	return findings
}

func countNamed(methods *ast.FieldList) (n int) {
	for _, m := range methods.List {
		n += len(m.Names)
	}
	return n
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	switch generic := t.(type) {
	case *ast.IndexExpr:
		t = generic.X
	case *ast.IndexListExpr:
		t = generic.X
	}
	name, ok := t.(*ast.Ident)
	return !ok || name.IsExported()
}
