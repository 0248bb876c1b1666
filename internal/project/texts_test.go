package project_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/project"
)

// TestTexts: the tree names no folder of the machine it was written on, and
// leaves nothing open.
func TestTexts(t *testing.T) {
	// Put together, so as not to find itself.
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
	known := make(map[string]bool)
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
	walk(t, func(path, text string) {
		// The tool's own tests make requirements up.
		if !strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, ".md") || strings.HasPrefix(path, "internal/project/") {
			return
		}
		for _, id := range project.IDs(text) {
			if !known[id] {
				t.Errorf("%s names %s, which is no requirement", path, id)
			}
		}
	})
}
