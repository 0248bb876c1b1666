package project_test

import (
	"go/ast"
	"strings"
	"testing"
)

// maxLines is how long a file may be; one subject needs no more.
const maxLines = 600

func checkLength(files []*source) (findings []string) {
	for _, s := range files {
		if n := strings.Count(s.text, "\n"); n > maxLines {
			findings = append(findings, s.finding(s.file.FileStart, "%d lines, more than %d", n, maxLines))
		}
	}
	return findings
}

func checkPanic(files []*source) (findings []string) {
	for _, s := range files {
		if s.isTest() {
			continue
		}
		calls(s, func(call *ast.CallExpr) {
			if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "panic" {
				findings = append(findings, s.finding(call.Pos(), "panic"))
			}
		})
	}
	return findings
}

// checkSleep lets tests sleep in a bubble, where it is virtual, and the simulated
// line of the benchmarks, which is to cost time.
func checkSleep(files []*source) (findings []string) {
	for _, s := range files {
		if s.dir() == "delivery/bench" || s.isTest() && strings.Contains(s.text, `"testing/synctest"`) {
			continue
		}
		what := "nobody can end this wait"
		if s.isTest() {
			what = "a test sleeps"
		}
		calls(s, func(call *ast.CallExpr) {
			if on, name := method(call); on == "time" && name == "Sleep" {
				findings = append(findings, s.finding(call.Pos(), "%s", what))
			}
		})
	}
	return findings
}

// checkSkip lets the actions of other kits skip, which choose another instead.
func checkSkip(files []*source) (findings []string) {
	for _, s := range files {
		if !s.isTest() {
			continue
		}
		for _, d := range s.file.Decls {
			others := foreignParams(d)
			ast.Inspect(d, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				on, name := method(call)
				if (name == "Skip" || name == "Skipf" || name == "SkipNow") && !others[on] {
					findings = append(findings, s.finding(call.Pos(), "a test skips"))
				}
				return true
			})
		}
	}
	return findings
}

// foreignParams are the parameters of a function, and of those in it, whose type
// is of another package than testing.
func foreignParams(d ast.Decl) map[string]bool {
	names := make(map[string]bool)
	ast.Inspect(d, func(n ast.Node) bool {
		f, ok := n.(*ast.FuncType)
		if !ok {
			return true
		}
		for _, p := range f.Params.List {
			t := p.Type
			if star, ok := t.(*ast.StarExpr); ok {
				t = star.X
			}
			selector, ok := t.(*ast.SelectorExpr)
			if !ok {
				continue
			}
			pkg, ok := selector.X.(*ast.Ident)
			for _, name := range p.Names {
				names[name.Name] = ok && pkg.Name != "testing"
			}
		}
		return true
	})
	return names
}

// TestFuzzed: what reads the octets of strangers, or of operators, is fuzzed.
func TestFuzzed(t *testing.T) {
	for dir, reads := range map[string]string{
		"internal/address":  "addresses",
		"internal/content":  "messages",
		"internal/smtp":     "replies",
		"mx":                "DNS answers",
		"mx/mxtest":         "DNS questions",
		"delivery/smtptest": "commands",
		"smarthost":         "notations",
		"delivery/dane":     "TLSA records",
		"delivery/mtasts":   "policies",
		"delivery/tlsrpt":   "reports",
	} {
		found := false
		for _, s := range sources(t) {
			if s.dir() != dir || !s.isTest() {
				continue
			}
			for _, d := range s.file.Decls {
				f, ok := d.(*ast.FuncDecl)
				found = found || ok && strings.HasPrefix(f.Name.Name, "Fuzz")
			}
		}
		if !found {
			t.Errorf("%s reads %s, and has no fuzz target", dir, reads)
		}
	}
}

func calls(s *source, f func(*ast.CallExpr)) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			f(call)
		}
		return true
	})
}

// method is "x", "M" of a call x.M().
func method(call *ast.CallExpr) (on, name string) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	if x, ok := selector.X.(*ast.Ident); ok {
		on = x.Name
	}
	return on, selector.Sel.Name
}
