package project_test

import (
	"go/ast"
	"strconv"
	"testing"
)

// pure is what the scheduler may import: it decides on values, so that the same calls
// give the same outputs, and a failing seed is a story that can be told again.
var pure = map[string]bool{"time": true, "slices": true}

// TestSchedulerIsPure holds the scheduler to no clock, no goroutine, no lock and
// nothing random.
func TestSchedulerIsPure(t *testing.T) {
	found := false
	for _, s := range sources(t) {
		if s.dir() != "delivery/internal/sched" || s.isTest() {
			continue
		}
		found = true
		for _, spec := range s.file.Imports {
			if path, _ := strconv.Unquote(spec.Path.Value); !pure[path] {
				t.Errorf("%s imports %s", s.path, path)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt, *ast.SelectStmt, *ast.ChanType, *ast.SendStmt:
				t.Errorf("%s has a goroutine or a channel", s.path)
			case *ast.SelectorExpr:
				if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "time" {
					switch n.Sel.Name {
					case "Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick":
						t.Errorf("%s asks for the time: time.%s", s.path, n.Sel.Name)
					}
				}
			}
			return true
		})
	}
	if !found {
		t.Error("there is no scheduler")
	}
}
