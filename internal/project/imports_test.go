package project_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/nexthop-mail/nexthop"

// mayImport is the import rule: what each package may know of the others. "..."
// is all public packages; internal/address is a leaf that all may import.
var mayImport = []struct {
	dir     string // and everything below it, unless a longer entry says otherwise
	imports []string
	why     string
}{
	{"internal/address", nil, "it is the leaf under everything"},
	{"internal/content", nil, "content is octets; what carries it is not its business"},
	{"internal/smtp", nil, "the dialogue knows nothing of routes, queues or policies"},
	{"internal/project", []string{"internal/project"}, "it looks at the repository, not into it"},
	{"internal/peers", nil, "the rig serves whoever tests"},
	{"mx", nil, "finding a host must be usable without delivering to it"},
	{"mx/mxtest", []string{"mx"}, "the fake is of mx alone"},
	{"smarthost", []string{"mx"}, "an override is a route"},
	{"queue", nil, "storage does not depend on how mail is delivered"},
	{"queue/memory", []string{"queue"}, "a queue knows the contract only"},
	{"queue/disk", []string{"queue", "queue/disk"}, "a queue knows the contract only"},
	{"queue/queuetest", []string{"queue", "queue/queuetest"}, "the suite knows the contract only"},
	{"delivery", []string{"mx", "smarthost", "queue", "delivery", "internal"}, "it joins the others"},
	{"delivery/smtptest", []string{"mx", "mx/mxtest", "smarthost", "queue", "delivery", "delivery/smtptest"},
		"people's tests use it: public packages only"},
	{"delivery/bench", []string{"mx", "smarthost", "queue", "delivery"}, "it measures what users can import"},
	{"examples", []string{"mx", "mx/mxtest", "smarthost", "queue", "queue/memory", "queue/disk", "delivery", "delivery/smtptest", "examples"},
		"examples show what users can import"},
}

// TestImports holds every package to the rule. Tests may import public packages
// and the kits beside it.
func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		rule := -1
		for i, r := range mayImport {
			if within(s.dir(), r.dir) && (rule < 0 || len(r.dir) > len(mayImport[rule].dir)) {
				rule = i
			}
		}
		for _, spec := range s.file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			to, ours := strings.CutPrefix(path, module+"/")
			if !ours || to == "internal/address" {
				continue
			}
			if rule < 0 {
				t.Errorf("%s imports %s: say in mayImport what it may import", s.path, to)
				continue
			}
			r := mayImport[rule]
			if !slices.ContainsFunc(r.imports, func(dir string) bool {
				return to == dir || dir == "internal" && within(to, dir) || dir == r.dir && within(to, dir)
			}) {
				t.Errorf("%s imports %s, and may not: %s", s.path, to, r.why)
			}
		}
	}
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// TestRequirements is the golden list of what the root module requires: every
// addition is a decision, recorded in docs/adr.
func TestRequirements(t *testing.T) {
	want := []string{"github.com/miekg/dns", "golang.org/x/net", "golang.org/x/sync"}
	data, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.SplitSeq(string(data), "\n") {
		m := regexp.MustCompile(`^\s*(?:require )?(\S+\.\S+/\S+) v\S+( // indirect)?$`).FindStringSubmatch(line)
		if m != nil && m[2] == "" {
			got = append(got, m[1])
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("go.mod requires %v, want %v", got, want)
	}
}

// TestModules: nested modules really require the root, and replace it.
func TestModules(t *testing.T) {
	nested := 0
	walk(t, func(path, text string) {
		if filepath.Base(path) == "go.work" {
			t.Errorf("%s: a workspace hides missing requirements", path)
		}
		if filepath.Base(path) != "go.mod" || path == "go.mod" {
			return
		}
		nested++
		if !strings.Contains(text, module+" v") || !strings.Contains(text, "replace "+module+" =>") {
			t.Errorf("%s: it needs a require of %s and a local replace", path, module)
		}
	})
	if nested == 0 {
		t.Error("no nested module found")
	}
}
