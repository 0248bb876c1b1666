package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// broken is a package of which the tests notice some breaks and miss others.
var broken = map[string]string{
	"go.mod": "module example.org/broken\n\ngo 1.26\n",
	"broken.go": `package broken

// Small reports whether n is small: its tests leave the bound itself out.
func Small(n int) bool {
	if n < 0 || n == -7 {
		return false
	}
	return n < 10
}

// Sum adds, and counts the calls; nobody looks at the count.
func (c *Counter) Sum(a, b int) int {
	c.calls++
	switch a {
	case 1:
		b += 0
	}
	return a + b - (a + b) + (a + b) // three mutants of one name
}

// Counter counts.
type Counter struct{ calls int }

// Unused is called by no test.
func Unused(a bool) bool { return !a && true == a }
`,
	"broken_test.go": `package broken

import "testing"

func TestSmall(t *testing.T) {
	for n, want := range map[int]bool{-1: false, 0: true, 5: true, 20: false} {
		if Small(n) != want {
			t.Errorf("Small(%d) is not %v", n, want)
		}
	}
}

func TestSum(t *testing.T) {
	t.Run("MX-1 a sum", func(t *testing.T) {
		if n := new(Counter).Sum(1, 2); n != 3 {
			t.Errorf("1 + 2 is %d", n)
		}
	})
	t.Run("MX-2 nothing", func(t *testing.T) {})
}
`,
}

// TestMutate breaks a package in every place, and wants exactly the survivors that
// its tests cannot notice.
func TestMutate(t *testing.T) {
	dir := t.TempDir()
	for name, text := range broken {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	survivors := []string{
		"broken.go:5: Small: n == -7 → false (reached by no test)",
		"broken.go:8: Small: n < 10 → <= (reached by no test)",
		"broken.go:13: Counter.Sum: c.calls++ → left out (survived)",
		"broken.go:15: Counter.Sum: case 1 → skipped (survived)",
		"broken.go:16: Counter.Sum: b += 0 → left out (survived)",
		"broken.go:25: Unused: !a && true == a → true (reached by no test)",
		"broken.go:25: Unused: !a && true == a → false (reached by no test)",
		"broken.go:25: Unused: !a → true (reached by no test)",
		"broken.go:25: Unused: true == a → true (reached by no test)",
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"."}, &out); err != errSurvivors {
		t.Fatalf("the error is %v, want %v\n%s", err, errSurvivors, out.Bytes())
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "broken.go:") {
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
	}
	slices.Sort(got)
	slices.Sort(survivors)
	if !slices.Equal(got, survivors) {
		t.Errorf("the survivors are\n%s\nwant\n%s\nin all:\n%s", strings.Join(got, "\n"), strings.Join(survivors, "\n"), out.Bytes())
	}

	t.Run("accepted survivors need a reason and must survive", func(t *testing.T) {
		var text strings.Builder
		for _, s := range survivors {
			name := strings.TrimSuffix(strings.TrimSuffix(s, " (survived)"), " (reached by no test)")
			at, rest, _ := strings.Cut(name, ": ")
			file, _, _ := strings.Cut(at, ":")
			text.WriteString("# one of them\n" + file + " " + rest + "\n\tit changes nothing\n")
		}
		accept := func(text string) (string, error) {
			if err := os.WriteFile("accepted", []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			err := run(t.Context(), []string{"-accepted", "accepted", "."}, &out)
			return out.String(), err
		}
		if out, err := accept(text.String()); err != nil {
			t.Errorf("all survivors are accepted, and the error is %v\n%s", err, out)
		}
		out, err := accept(text.String() + "broken.go Small: n < 10 → true\n\ta test notices it\n")
		if err != errSurvivors || !strings.Contains(out, "has a reason and is no survivor: broken.go Small: n < 10 → true") {
			t.Errorf("a reason without a survivor: %v\n%s", err, out)
		}
		if _, err := accept("broken.go Small: n < 10 → <=\n"); err == nil || err == errSurvivors {
			t.Errorf("a survivor without a reason in the file: %v", err)
		}
	})

	t.Run("the survivors of an earlier run again", func(t *testing.T) {
		if err := os.WriteFile("earlier", out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		better := strings.Replace(broken["broken_test.go"], "20: false", "10: false", 1)
		if err := os.WriteFile("broken_test.go", []byte(better), 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.WriteFile("broken_test.go", []byte(broken["broken_test.go"]), 0o600)
		var out bytes.Buffer
		err := run(t.Context(), []string{"-again", "earlier", "."}, &out)
		if want := "1 killed, 0 hung, 3 survived, 5 reached by no test; 8 survivors have no reason\n"; err != errSurvivors || !strings.HasSuffix(out.String(), want) {
			t.Errorf("%v, %s\nwant the end\n%s", err, out.String(), want)
		}
	})

	t.Run("a budget that no test is within", func(t *testing.T) {
		var out bytes.Buffer
		err := run(t.Context(), []string{"-budget", "1ns", "."}, &out)
		if err != errSurvivors || !strings.Contains(out.String(), "\n0 killed, 0 hung, ") {
			t.Errorf("%v, %s\nwant none killed", err, out.String())
		}
	})

	t.Run("the subtests of a row", func(t *testing.T) {
		var out bytes.Buffer
		if err := run(t.Context(), []string{"-row", "MX-1", "."}, &out); err != nil {
			t.Fatal(err)
		}
		if want := "5 of 8 mutants are noticed by the subtests of MX-1\n"; !strings.HasSuffix(out.String(), want) {
			t.Errorf("%s\nwant the end\n%s", out.String(), want)
		}
	})
	for table, want := range map[string]string{
		"# a sum\nMX-1 broken.go Counter.Sum: a + b → -\nMX-1 other.go nothing\n": "1 clauses of 1 rows, 0 of them do not hold\n",
		"MX-1 broken.go Counter.Sum: a + b → - (3)\n":                             "1 clauses of 1 rows, 0 of them do not hold\n",
		"MX-1 broken.go Counter.Sum: a + b → - (4)\n":                             "MX-1: there is no such mutant: broken.go Counter.Sum: a + b → - (4)\n1 clauses of 1 rows, 1 of them do not hold\n",
		"MX-2 broken.go Counter.Sum: a + b → -\n":                                 "MX-2: not noticed: broken.go Counter.Sum: a + b → -\n1 clauses of 1 rows, 1 of them do not hold\n",
		"MX-1 broken.go Counter.Sum: a * b → /\n":                                 "MX-1: there is no such mutant: broken.go Counter.Sum: a * b → /\n1 clauses of 1 rows, 1 of them do not hold\n",
	} {
		t.Run("a table of clauses", func(t *testing.T) {
			if err := os.WriteFile("clauses", []byte(table), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			err := run(t.Context(), []string{"-clauses", "clauses", "."}, &out)
			if holds := strings.Contains(want, " 0 of"); holds != (err == nil) || !strings.HasSuffix(out.String(), want) {
				t.Errorf("%v, %s\nwant the end\n%s", err, out.String(), want)
			}
		})
	}
}
