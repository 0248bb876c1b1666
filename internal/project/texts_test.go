package project_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/project"
)

// TestTexts: the tree names no folder of the machine it was written on, and
// leaves nothing open.
func TestTexts(t *testing.T) {
	// Put together, so as not to find themselves.
	machine := regexp.MustCompile(`(^|[\s"'=(` + "`" + `])/(wo` + `rk|ho` + `me|ro` + `ot)/`)
	open := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	walk(t, func(path, text string) {
		if strings.HasSuffix(path, ".sum") {
			return
		}
		for i, line := range linesWith(text, "/wo"+"rk/", "/ho"+"me/", "/ro"+"ot/") {
			if machine.MatchString(line) {
				t.Errorf("%s:%d: a path of some machine: %s", path, i, line)
			}
		}
		for i, line := range linesWith(text, "TO"+"DO", "FIX"+"ME", "XX"+"X") {
			if open.MatchString(line) {
				t.Errorf("%s:%d: left open: %s", path, i, line)
			}
		}
	})
}

// linesWith are the lines, numbered from 1, in which one of the words stands.
// Expressions are slow under the race detector, and this is not.
func linesWith(text string, words ...string) map[int]string {
	found := make(map[int]string)
	n := 0
	for line := range strings.Lines(text) {
		n++
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
			found[n] = strings.TrimSpace(line)
		}
	}
	return found
}

// TestDecisions: each decision in docs/adr has a number of its own, which its name and its
// title begin with, and none is left out.
func TestDecisions(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "docs", "adr", "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d decisions, %v", len(files), err)
	}
	for i, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if base, n := filepath.Base(name), i+1; !strings.HasPrefix(base, fmt.Sprintf("%04d-", n)) || !strings.HasPrefix(string(text), fmt.Sprintf("# %d. ", n)) {
			t.Errorf("%s is not named and titled as decision %d", base, n)
		}
	}
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
		for i, line := range linesWith(text, "MX-", "SMTP-", "TLS-", "QUE-", "DSN-", "EXT-", "I18N-") {
			for _, id := range project.IDs(line) {
				if !known[id] {
					t.Errorf("%s:%d: %s is no requirement", path, i, id)
				}
			}
		}
	})
}
