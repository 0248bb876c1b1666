package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repository is a folder with the tables that cover reads, and a file.
func repository(t *testing.T, name, text string) (root, file string) {
	t.Helper()
	root = t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(root, name)
	for path, text := range map[string]string{
		filepath.Join(root, "docs", "requirements.md"): "| row | source |\n| --- | --- |\n" +
			"| MX-1 | a |\n| MX-2 | b |\n| MX-3 | c |\n| MX-4 | see MX-9 |\n| TLS-1 | d |\n| TLS-2 | e |\n",
		filepath.Join(root, "docs", "not-shown.md"): "| rows | reason |\n| --- | --- |\n| MX-3, TLS-1 … TLS-2 | because |\n",
		file: text,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root, file
}

func TestRequirementsShown(t *testing.T) {
	root, none := repository(t, "tests.json", "")
	nothing := "MX      0 of   4 shown\n      argued in docs/not-shown.md: MX-3\n      not shown: MX-1 MX-2 MX-4\n"
	for name, c := range map[string]struct{ events, want string }{
		"nothing ran": {"", nothing},
		"a subtest passed": {
			`{"Action":"pass","Test":"TestX/MX-1_it_works"}`,
			"MX      1 of   4 shown\n      argued in docs/not-shown.md: MX-3\n      not shown: MX-2 MX-4\n",
		},
		"several rows in one name": {
			`{"Action":"pass","Test":"TestX/MX-1,_MX-4_it_works"}`,
			"MX      2 of   4 shown\n      argued in docs/not-shown.md: MX-3\n      not shown: MX-2\n",
		},
		"shown after all":               {`{"Action":"pass","Test":"TestX/MX-3"}`, "not shown: MX-1 MX-2 MX-4\nTLS"},
		"a subtest that failed":         {`{"Action":"fail","Test":"TestX/MX-1_it_works"}`, nothing},
		"one passed and one failed":     {`{"Action":"pass","Test":"T/MX-1"}` + "\n" + `{"Action":"fail","Test":"U/MX-1"}`, nothing},
		"skipped":                       {`{"Action":"skip","Test":"TestX/MX-1_it_works"}`, nothing},
		"it ran only":                   {`{"Action":"run","Test":"TestX/MX-1_it_works"}`, nothing},
		"printed":                       {`{"Action":"output","Test":"TestX/one","Output":"MX-1"}`, nothing},
		"another number":                {`{"Action":"pass","Test":"TestX/MX-12_it_works"}`, nothing},
		"a case below it":               {`{"Action":"pass","Test":"TestX/MX-1_it_works/one_case"}`, nothing},
		"compilers say something, too":  {"# a/package\nMX-1\n", nothing},
		"counted with those not needed": {"", "all     0 shown, 3 argued\n"},
		"failed tests are told":         {`{"Action":"fail","Test":"TestX"}`, "1 tests failed"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "tests.json")
			if err := os.WriteFile(file, []byte(c.events+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := run([]string{none, file}, root, &out); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("want %q in %q", c.want, out.String())
			}
		})
	}
}

func TestCoverageByPackage(t *testing.T) {
	root, profile := repository(t, "profile.txt", `mode: set
m/a/x.go:1.1,2.2 3 0
m/a/y.go:1.1,2.2 1 1
m/b/z.go:1.1,2.2 4 0
m/a/x.go:1.1,2.2 3 1
m/b/z.go:1.1,2.2 4 0
`)
	var out strings.Builder
	if err := run([]string{"-profile", profile, profile}, root, &out); err != nil {
		t.Fatal(err)
	}
	want := "100.0 % of statements reached in m/a\n  0.0 % of statements reached in m/b\n 50.0 % of statements reached in all\n"
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("got %q, want it to end in %q", out.String(), want)
	}
}

func TestBadArguments(t *testing.T) {
	root, file := repository(t, "profile.txt", "a b c\n")
	for name, args := range map[string][]string{
		"no file":             nil,
		"a file that is none": {filepath.Join(root, "missing")},
		"no profile":          {"-profile", file, file},
		"an unknown flag":     {"-nonsense", file},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(args, root, &strings.Builder{}); err == nil {
				t.Error("no error")
			}
		})
	}
}
