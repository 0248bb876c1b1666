package project_test

import (
	"strings"
	"testing"
)

// rule is a rule of the house that the files of a folder keep or break.
type rule struct {
	name string
	why  string
	// check returns what breaks it, a finding each.
	check func(files []*source) []string
}

var rules = []rule{
	{"length", "a longer file has a second subject", checkLength},
	{"documented", "nobody should have to read the code to use it", checkDocumented},
	{"init", "nothing happens because a package was imported", checkInit},
	{"variables", "state belongs to a value that somebody owns", checkVariables},
	{"panic", "a library does not end its user's program", checkPanic},
	{"sleep", "a test that waits for luck has none: use virtual time or a channel", checkSleep},
	{"skip", "what is missing must fail: a test that skips is one that nobody runs", checkSkip},
}

func TestRules(t *testing.T) {
	folders := make(map[string][]*source)
	for _, s := range sources(t) {
		folders[s.dir()] = append(folders[s.dir()], s)
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, files := range folders {
				for _, finding := range r.check(files) {
					t.Errorf("%s (%s)", finding, r.why)
				}
			}
		})
	}
}

// TestRulesCatch holds the rules themselves to what they promise.
func TestRulesCatch(t *testing.T) {
	for _, c := range []struct {
		rule, name string
		file       string // its path; the folder says what it is
		text       string
		want       string // in the only finding; none if empty
	}{
		{"length", "600 lines", "a/a.go", "// Package a.\npackage a\n" + strings.Repeat("\n", 598), ""},
		{"length", "601 lines", "a/a.go", "// Package a.\npackage a\n" + strings.Repeat("\n", 599), "a/a.go:1: 601 lines"},

		{"documented", "a function", "a/a.go", "// Package a.\npackage a\nfunc F() {}", "a.go:3: F"},
		{"documented", "a method", "a/a.go", "// Package a.\npackage a\n// T is.\ntype T int\nfunc (t *T) M() {}", "a.go:5: M"},
		{"documented", "a method of a hidden type", "a/a.go", "// Package a.\npackage a\ntype t[K any] int\nfunc (t *t[K]) M() {}", ""},
		{"documented", "a type", "a/a.go", "// Package a.\npackage a\ntype T int", "a.go:3: T"},
		{"documented", "a group speaks for its constants", "a/a.go", "// Package a.\npackage a\n// All.\nconst (\nA = 1\nB = 2\n)", ""},
		{"documented", "a variable", "a/a.go", "// Package a.\npackage a\nvar (\n// E is.\nE = 1\nF = 2\n)", "a.go:6: F"},
		{"documented", "a package", "a/a.go", "package a", "package a"},
		{"documented", "a method of an interface", "a/a.go", "// Package a.\npackage a\n// T is.\ntype T interface {\n\t// M is.\n\tM()\n\n\tN()\n}", "a.go:8: T.N"},
		{"documented", "an interface that speaks of its methods", "a/a.go", "// Package a.\npackage a\n// T is. M does, N is not.\ntype T interface {\n\tM()\n\tN()\n}", ""},
		{"documented", "an interface of one method", "a/a.go", "// Package a.\npackage a\n// T is.\ntype T interface{ M() }", ""},

		{"init", "there is one", "a/a.go", "package a\nfunc init() {}", "a.go:2: an init function"},
		{"init", "a method of that name", "a/a.go", "package a\nfunc (t T) init() {}", ""},

		{"variables", "an error", "a/a.go", `package a; var ErrX = errors.New("x")`, ""},
		{"variables", "a table", "a/a.go", `package a; var names = [...]string{"x"}`, ""},
		{"variables", "a compiled expression", "a/a.go", `package a; var digits = regexp.MustCompile("x")`, ""},
		{"variables", "a pool of buffers", "a/a.go", `package a; var pool = sync.Pool{New: nil}`, ""},
		{"variables", "a proof", "a/a.go", `package a; var _ T = (*U)(nil)`, ""},
		{"variables", "files of the repository", "a/a.go", "package a\n\n//go:embed sql\nvar files embed.FS", ""},
		{"variables", "a zero value", "a/a.go", `package a; var count int`, "a.go:1: package variable count"},
		{"variables", "a map to be filled", "a/a.go", `package a; var cache = make(map[string]int)`, "cache"},
		{"variables", "a literal with a mutex", "a/a.go", `package a; var state = sync.Map{}`, "state"},
		{"variables", "a hook", "a/a.go", `package a; var now = time.Now`, "now"},
		{"variables", "a table that is written to", "a/a.go", "package a\nvar m = map[string]int{}\nfunc f() { m[\"a\"] = 1 }", "a.go:3: package variable m is changed"},
		{"variables", "a field that is set", "a/a.go", "package a\nvar c = config{}\nfunc f() { c.x = 1 }", "c is changed"},
		{"variables", "a number that is counted", "a/a.go", "package a\nvar n = start()\nfunc f() { n++ }", "n is changed"},
		{"variables", "a map that is emptied", "a/a.go", "package a\nvar m = map[string]int{}\nfunc f() { clear(m) }", "m is changed"},
		{"variables", "an address that is given away", "a/a.go", "package a\nvar n = start()\nfunc f() { g(&n) }", "n is changed"},
		{"variables", "a local of the same name", "a/a.go", "package a\nvar n = start()\nfunc f() { n := 1; n++ }", ""},

		{"panic", "a panic", "a/a.go", "package a\nfunc F() { panic(1) }", "a.go:2: panic"},
		{"panic", "in a test", "a/a_test.go", "package a\nfunc F() { panic(1) }", ""},

		{"sleep", "for real", "a/a_test.go", "package a\nfunc f() { time.Sleep(1) }", "a_test.go:2: a test sleeps"},
		{"sleep", "in a bubble", "a/a_test.go", "package a\nimport \"testing/synctest\"\nfunc f() { time.Sleep(1) }", ""},
		{"sleep", "in the library", "a/a.go", "package a\nfunc f() { time.Sleep(1) }", "a.go:2: nobody can end"},

		{"skip", "a test", "a/a_test.go", "package a\nfunc TestX(t *testing.T) { t.Skip() }", "a_test.go:2: a test skips"},
		{"skip", "a helper", "a/a_test.go", "package a\nfunc f(tb testing.TB) { tb.Skipf(`x`) }", "a test skips"},
		{"skip", "an action of another kit", "a/a_test.go", "package a\nfunc (m *machine) Put(t *rapid.T) { t.Skip() }", ""},
	} {
		t.Run(c.rule+": "+c.name, func(t *testing.T) {
			s, err := parse(c.file, c.text)
			if err != nil {
				t.Fatal(err)
			}
			got := find(t, c.rule).check([]*source{s})
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("found %q", got)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)):
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

func find(t *testing.T, name string) rule {
	t.Helper()
	for _, r := range rules {
		if r.name == name {
			return r
		}
	}
	t.Fatalf("no rule is called %q", name)
	return rule{}
}
