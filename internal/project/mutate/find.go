package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// finder walks one package and notes its mutants.
type finder struct {
	p       *loaded
	file    *ast.File
	text    []byte
	in      string     // the function the walk is in
	last    ast.Stmt   // the last statement of that function if it has results
	covered []ast.Expr // boolean expressions whose mutants are noted already
	first   int
	found   []*mutant
}

// find returns the mutants of p in files whose name matches, numbered from first.
func find(p *loaded, matches *regexp.Regexp, first int) []*mutant {
	f := &finder{p: p, first: first + 1}
	for i, file := range p.files {
		if matches != nil && !matches.MatchString(filepath.Base(p.set.Position(file.Pos()).Filename)) {
			continue
		}
		f.file, f.text = file, p.texts[i]
		for _, d := range file.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Body != nil {
				f.function(d)
			}
		}
	}
	return f.found
}

func (f *finder) function(d *ast.FuncDecl) {
	f.in, f.last = d.Name.Name, lastOf(d.Type, d.Body)
	if d.Recv != nil {
		f.in = strings.TrimPrefix(f.source(d.Recv.List[0].Type), "*") + "." + f.in
	}
	ast.Inspect(d.Body, f.node)
}

// lastOf returns the last statement of a function with results: the compiler wants
// it to be one that ends the function.
func lastOf(t *ast.FuncType, body *ast.BlockStmt) ast.Stmt {
	if t.Results == nil || len(body.List) == 0 {
		return nil
	}
	return body.List[len(body.List)-1]
}

// node notes the mutants that begin at n. It returns whether to look inside.
func (f *finder) node(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.FuncLit:
		outer := f.last
		f.last = lastOf(n.Type, n.Body)
		ast.Inspect(n.Body, f.node)
		f.last = outer
		return false
	case *ast.GenDecl:
		return n.Tok != token.CONST
	case *ast.IfStmt:
		f.condition(n.Cond, true, true)
	case *ast.ForStmt:
		if n.Cond != nil {
			f.condition(n.Cond, false, true)
		}
	case *ast.SwitchStmt:
		f.cases(n)
	case *ast.ReturnStmt:
		for _, r := range n.Results {
			f.returned(r)
		}
	case *ast.BinaryExpr:
		f.binary(n)
	case *ast.BlockStmt:
		f.statements(n.List)
	case *ast.CaseClause:
		f.statements(n.Body)
	case *ast.CommClause:
		f.statements(n.Body)
	}
	return true
}

// condition notes that e is always true, and never.
func (f *finder) condition(e ast.Expr, always, never bool) {
	if f.constant(e) || slices.Contains(f.covered, e) {
		return
	}
	f.covered = append(f.covered, e)
	text := f.source(e)
	if always {
		f.note(e, text+" → true", wrap(e, "zzTrue(%d, ", ")"))
	}
	if never {
		f.note(e, text+" → false", wrap(e, "zzFalse(%d, ", ")"))
	}
}

// returned notes the mutants of a boolean that a function returns.
func (f *finder) returned(e ast.Expr) {
	if id, ok := e.(*ast.Ident); ok && (id.Name == "true" || id.Name == "false") {
		f.note(e, "return "+id.Name+" → the contrary", wrap(e, "zzNot(%d, ", ")"))
		return
	}
	if t := f.p.info.TypeOf(e); t != nil && isBool(t) {
		f.condition(e, true, true)
	}
}

// binary notes operands that do not count, bounds that are off by one, and sums
// that are differences.
func (f *finder) binary(e *ast.BinaryExpr) {
	switch e.Op {
	case token.LAND:
		f.condition(e.X, true, false)
		f.condition(e.Y, true, false)
	case token.LOR:
		f.condition(e.X, false, true)
		f.condition(e.Y, false, true)
	case token.EQL, token.NEQ:
		f.condition(e, true, true)
	case token.LSS, token.LEQ, token.GTR, token.GEQ:
		f.condition(e, true, true)
		f.operation(e, types.IsOrdered)
	case token.ADD, token.SUB:
		f.operation(e, types.IsNumeric)
	}
}

// otherOperator is what an operator becomes, and the function that does either.
var otherOperator = map[token.Token][2]string{
	token.LSS: {"<=", "zzLess"},
	token.LEQ: {"<", "zzLessEqual"},
	token.GTR: {">=", "zzGreater"},
	token.GEQ: {">", "zzGreaterEqual"},
	token.ADD: {"-", "zzAdd"},
	token.SUB: {"+", "zzSub"},
}

func (f *finder) operation(e *ast.BinaryExpr, kind types.BasicInfo) {
	x, y := f.p.info.TypeOf(e.X), f.p.info.TypeOf(e.Y)
	if f.constant(e) || !isBasic(x, kind) || !isBasic(y, kind) || isShift(e.X) || isShift(e.Y) {
		return
	}
	other := otherOperator[e.Op]
	at := f.offset(e.OpPos)
	f.note(e, f.source(e)+" → "+other[0],
		edit{from: f.offset(e.Pos()), to: f.offset(e.Pos()), text: other[1] + "(%d, ", until: f.offset(e.End())},
		edit{from: at, to: at + len(e.Op.String()), text: ","},
		edit{from: f.offset(e.End()), to: f.offset(e.End()), text: ")", closes: true, until: f.offset(e.Pos())})
}

// cases notes cases that are skipped, and conditions that are cases.
func (f *finder) cases(s *ast.SwitchStmt) {
	for _, c := range s.Body.List {
		c := c.(*ast.CaseClause)
		if s.Tag == nil {
			for _, e := range c.List {
				f.condition(e, true, true)
			}
			continue
		}
		if s == f.last || len(c.Body) == 0 || len(c.List) == 0 || falls(c.Body) {
			continue
		}
		texts := make([]string, len(c.List))
		for i, e := range c.List {
			texts[i] = f.source(e)
		}
		at := f.offset(c.Body[0].Pos())
		f.note(c, "case "+strings.Join(texts, ", ")+" → skipped",
			edit{from: at, to: at, text: "if zzOn(%d) { break }; ", until: f.offset(c.Body[len(c.Body)-1].End()) + 1})
	}
}

// statements notes statements that are not executed.
func (f *finder) statements(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.ExprStmt:
			if call, ok := s.X.(*ast.CallExpr); !ok || locks(call) || panics(call) {
				continue
			}
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE {
				continue
			}
		case *ast.IncDecStmt, *ast.SendStmt:
		default:
			continue
		}
		f.note(s, f.source(s)+" → left out", wrap(s, "if !zzOn(%d) { ", " }"))
	}
}

// note adds a mutant.
func (f *finder) note(n ast.Node, what string, edits ...edit) {
	position := f.p.set.Position(n.Pos())
	m := &mutant{
		number: f.first + len(f.found), source: position.Filename, line: position.Line, in: f.in,
		what: strings.Join(strings.Fields(what), " "),
	}
	for _, e := range edits {
		if e.node != nil {
			open := edit{from: f.offset(e.node.Pos()), to: f.offset(e.node.Pos()), text: e.text, until: f.offset(e.node.End())}
			shut := edit{from: f.offset(e.node.End()), to: f.offset(e.node.End()), text: e.after, closes: true, until: f.offset(e.node.Pos())}
			m.edits = append(m.edits, open, shut)
			continue
		}
		m.edits = append(m.edits, e)
	}
	for i := range m.edits {
		m.edits[i].order = m.number
		if strings.Contains(m.edits[i].text, "%d") {
			m.edits[i].text = fmt.Sprintf(m.edits[i].text, m.number)
		}
	}
	f.found = append(f.found, m)
}

func (f *finder) offset(p token.Pos) int { return f.p.set.Position(p).Offset }

func (f *finder) source(n ast.Node) string {
	return string(f.text[f.offset(n.Pos()):f.offset(n.End())])
}

// constant reports whether e has a value at compile time, or none we know of.
func (f *finder) constant(e ast.Expr) bool {
	t, ok := f.p.info.Types[e]
	return !ok || t.Value != nil
}

func isBool(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsBoolean != 0
}

func isBasic(t types.Type, kind types.BasicInfo) bool {
	if t == nil {
		return false
	}
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&kind != 0 && b.Info()&types.IsComplex == 0
}

// isShift reports whether e may be a shift that has no type of its own.
func isShift(e ast.Expr) bool {
	if p, ok := e.(*ast.ParenExpr); ok {
		return isShift(p.X)
	}
	b, ok := e.(*ast.BinaryExpr)
	return ok && (b.Op == token.SHL || b.Op == token.SHR || isShift(b.X) || isShift(b.Y))
}

// falls reports whether a case falls through to the next, so that nothing may be
// put before its body.
func falls(body []ast.Stmt) bool {
	b, ok := body[len(body)-1].(*ast.BranchStmt)
	return ok && b.Tok == token.FALLTHROUGH
}

// locks reports whether a call takes or gives back a mutex: without it a test
// hangs or nothing is seen but with the race detector.
func locks(call *ast.CallExpr) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	return ok && slices.Contains([]string{"Lock", "Unlock", "RLock", "RUnlock"}, s.Sel.Name)
}

// panics reports whether a call is one of panic, which may have to end a function.
func panics(call *ast.CallExpr) bool {
	id, ok := call.Fun.(*ast.Ident)
	return ok && id.Name == "panic"
}
