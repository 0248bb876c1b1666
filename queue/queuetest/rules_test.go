package queuetest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/queuetest"
)

// rule is a rule of package queue's documentation.
type rule struct{ id, text string }

// documentedRules reads the rules where they are stated.
func documentedRules(t *testing.T) []rule {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`^([A-Z][0-9]+)\. `)
	var rules []rule
	for paragraph := range strings.SplitSeq(file.Doc.Text(), "\n\n") {
		text := strings.Join(strings.Fields(paragraph), " ")
		if m := number.FindStringSubmatch(text); m != nil {
			rules = append(rules, rule{m[1], text})
		}
	}
	if len(rules) < 40 {
		t.Fatalf("found %d rules in the documentation of package queue", len(rules))
	}
	return rules
}

// TestRulesAreQuoted compares the kit's rules with the documentation.
func TestRulesAreQuoted(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "rules.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	quoted := make(map[string]string)
	for _, decl := range file.Decls {
		for _, spec := range decl.(*ast.GenDecl).Specs {
			v := spec.(*ast.ValueSpec)
			quoted[v.Names[0].Name] = literal(t, v.Values[0])
		}
	}
	for _, r := range documentedRules(t) {
		if got := quoted["rule"+r.id]; got != r.text {
			t.Errorf("rule %s is quoted as %q, want %q", r.id, got, r.text)
		}
		delete(quoted, "rule"+r.id)
	}
	for name := range quoted {
		t.Errorf("%s is no rule of the documentation", name)
	}
}

// literal joins the strings of a constant.
func literal(t *testing.T, e ast.Expr) string {
	t.Helper()
	switch e := e.(type) {
	case *ast.BasicLit:
		return strings.Trim(e.Value, `"`)
	case *ast.BinaryExpr:
		return literal(t, e.X) + literal(t, e.Y)
	}
	t.Fatalf("%T in a constant", e)
	return ""
}

// TestEveryRuleIsChecked looks for the rules among the cases' sources.
func TestEveryRuleIsChecked(t *testing.T) {
	names, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, e := range names {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") || e.Name() == "rules.go" {
			continue
		}
		text, err := os.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	for _, r := range documentedRules(t) {
		if !strings.Contains(source.String(), "{rule"+r.id+", ") {
			t.Errorf("no case checks rule %s: %s", r.id, r.text)
		}
	}
}

// TestSubjects is about what is no queue at all.
func TestSubjects(t *testing.T) {
	if err := queuetest.Test(inMemory()); err != nil {
		t.Errorf("Test of the memory queue = %v, want nil", err)
	}
	if err := queuetest.Test(queuetest.Implementation{}); err == nil {
		t.Error("Test of a subject without Open = nil")
	}
	failing := queuetest.Implementation{Open: func() (*queuetest.Instance, error) { return nil, queue.ErrFull }}
	if err := queuetest.Test(failing); err != queue.ErrFull {
		t.Errorf("Test of a subject that does not open = %v, want its error", err)
	}
}
