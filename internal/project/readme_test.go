package project_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme: every complete program in the README compiles, in a module of its
// own that requires this one as a reader's would.
func TestReadme(t *testing.T) {
	programs := 0
	for _, block := range fences(readText(t, "README.md"), "go") {
		if !strings.HasPrefix(block, "package main\n") {
			continue
		}
		programs++
		vet(t, block)
	}
	if programs == 0 {
		t.Error("the README has no complete program")
	}
}

// TestReadmeTests: every test in the README stands in the repository letter for
// letter, where it is run.
func TestReadmeTests(t *testing.T) {
	tests := 0
	for _, block := range fences(readText(t, "README.md"), "go") {
		if !strings.HasPrefix(block, "func Test") {
			continue
		}
		tests++
		name, _, _ := strings.Cut(strings.TrimPrefix(block, "func "), "(")
		found := false
		walk(t, func(path, text string) {
			found = found || strings.HasSuffix(path, "_test.go") && strings.Contains(text, "\n"+block)
		})
		if !found {
			t.Errorf("no file of tests has the README's %s as it stands there", name)
		}
	}
	if tests == 0 {
		t.Error("the README has no test")
	}
}

// TestLadder: the code in ARCHITECTURE.md is code that examples run, so that it
// compiles and does what it says.
func TestLadder(t *testing.T) {
	flat := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	examples := flat(readText(t, "delivery/ladder_test.go"))
	blocks := fences(readText(t, "ARCHITECTURE.md"), "go")
	for _, block := range blocks {
		if !strings.Contains(examples, flat(block)) {
			t.Errorf("delivery/ladder_test.go has not what ARCHITECTURE.md shows:\n%s", block)
		}
	}
	if len(blocks) != 3 {
		t.Errorf("%d blocks of code, want the three rungs of the ladder", len(blocks))
	}
}

// TestGuide: every declaration in docs/guide.md stands in an example, whose tests run it.
func TestGuide(t *testing.T) {
	var code strings.Builder
	walk(t, func(path, text string) {
		if strings.HasPrefix(path, "examples/") && strings.HasSuffix(path, ".go") {
			code.WriteString(text)
		}
	})
	shown := 0
	for _, block := range fences(readText(t, "docs/guide.md"), "go") {
		for part := range strings.SplitAfterSeq(block, "\n}\n") {
			part = strings.TrimPrefix(part, "\n")
			if shown++; part != "" && !strings.Contains(code.String(), "\n"+part) {
				t.Errorf("no example has what docs/guide.md shows:\n%s", part)
			}
		}
	}
	if shown < 15 {
		t.Errorf("docs/guide.md shows %d declarations, which are not all", shown)
	}
}

// vet type-checks a program and looks for mistakes in it. The requirements and
// their sums are the repository's, so that nothing is asked of the network.
func vet(t *testing.T, program string) {
	t.Helper()
	dir := t.TempDir()
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	mod := strings.Replace(readText(t, "go.mod"), "module "+module+"\n", "module example.org/program\n", 1) +
		"\nrequire " + module + " v0.0.0\n\nreplace " + module + " => " + here + "\n"
	for name, text := range map[string]string{"main.go": program, "go.mod": mod, "go.sum": readText(t, "go.sum")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "vet", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, program)
	}
}

// TestLinks: what the texts link to in the repository is there, and so are the
// targets of make that they name.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s#]+)`)
	target := regexp.MustCompile("(?m)(?:^|`)make ([a-z]+)")
	makefile := readText(t, "Makefile")
	fenced := regexp.MustCompile("(?s)\n```go\n.*?```")
	found := 0
	walk(t, func(path, text string) {
		if filepath.Ext(path) != ".md" {
			return
		}
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
			}
		}
		for _, m := range target.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s names the target %s, which the Makefile has not", path, m[1])
			}
		}
	})
	if found < 10 {
		t.Errorf("found %d links only", found)
	}
}

// fences are the code blocks of a language in a Markdown text.
func fences(text, language string) []string {
	var blocks []string
	for {
		_, rest, ok := strings.Cut(text, "\n```"+language+"\n")
		if !ok {
			return blocks
		}
		block, after, ok := strings.Cut(rest, "```")
		if !ok {
			return blocks
		}
		blocks, text = append(blocks, block), after
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
