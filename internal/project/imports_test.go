package project_test

import (
	"go/ast"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/nexthop-mail/nexthop"

// importRule is what the packages of one folder may import of ours.
type importRule struct {
	dir     string // and everything below it, unless a longer entry says otherwise
	imports []string
	why     string
}

// allows reports whether a package may be imported. A folder that stands in its own
// list is meant with everything below it, and so is "internal".
func (r *importRule) allows(to string) bool {
	return slices.ContainsFunc(r.imports, func(dir string) bool {
		return to == dir || (dir == "internal" || dir == r.dir) && within(to, dir)
	})
}

// ruleOf is the rule for a folder, nil if there is none.
func ruleOf(dir string) (rule *importRule) {
	for i := range mayImport {
		if r := &mayImport[i]; within(dir, r.dir) && (rule == nil || len(r.dir) > len(rule.dir)) {
			rule = r
		}
	}
	return rule
}

// mayImport is the import rule: what each package may know of the others. "..."
// is all public packages; internal/address, internal/age, internal/enum, internal/listing, internal/smallfile
// and internal/tap are leaves that all
// may import.
var mayImport = []importRule{
	{"internal/address", nil, "it is the leaf under everything"},
	{"internal/age", []string{"internal/age"}, "how old something is depends on nothing"},
	{"internal/content", nil, "content is octets; what carries it is not its business"},
	{"internal/enum", nil, "the text of a value depends on nothing"},
	{"internal/listing", nil, "what is in a directory depends on nothing"},
	{"internal/smallfile", nil, "how a file is replaced depends on nothing"},
	{"internal/dsn", []string{"internal/dsn"}, "a report is text; what is reported is not its business"},
	{"internal/sasl", nil, "who logs in is told by the caller"},
	{"internal/smtp", nil, "the dialogue knows nothing of routes, queues or policies"},
	{"internal/project", []string{"internal/project"}, "it looks at the repository, not into it"},
	{"internal/tap", nil, "what goes over a connection is octets"},
	{"internal/peers", nil, "the rig serves whoever tests"},
	{"internal/bench", []string{"mx", "queue", "queue/disk", "delivery", "internal/bench"}, "it measures what users can import"},
	{"mx", nil, "finding a host must be usable without delivering to it"},
	{"mx/mxtest", []string{"mx"}, "the fake is of mx alone"},
	{"smarthost", []string{"mx"}, "an override is a route"},
	{"queue", nil, "storage does not depend on how mail is delivered"},
	{"queue/memory", []string{"queue"}, "a queue knows the contract only"},
	{"queue/disk", []string{"queue", "queue/disk"}, "a queue knows the contract only"},
	{"queue/postgres", []string{"queue", "queue/memory", "queue/disk", "queue/queuetest", "queue/postgres"}, "a queue knows the contract only; its tests, what users can import"},
	{"queue/postgres/bench", []string{"delivery", "delivery/smtptest", "queue", "queue/postgres", "queue/postgres/postgrestest"}, "it measures what users can import"},
	{"queue/postgres/tlsstore", []string{"queue/postgres/tlsstore", "delivery/mtasts", "delivery/storetest", "delivery/tlsrpt", "delivery/trust", "queue/postgres", "queue/postgres/postgrestest"},
		"what agents know of TLS is no part of a queue; it is in the same database"},
	{"queue/queuetest", []string{"queue", "queue/queuetest"}, "the suite knows the contract only"},
	{"queue/queuetest/modeltest", []string{"queue", "queue/memory", "queue/disk", "queue/postgres", "queue/postgres/postgrestest", "queue/queuetest"}, "it compares what users can import"},
	{"delivery", []string{"mx", "smarthost", "queue", "delivery", "internal"}, "it joins the others"},
	{"delivery/dane", []string{"mx"}, "what DNS says of a host's certificate does not depend on how mail is sent"},
	{"delivery/internal", nil, "a package inside delivery has a rule of its own"},
	{"delivery/internal/attempt", []string{"mx", "queue", "delivery/internal/session", "internal/content", "internal/smtp"},
		"one walk is the same whoever asks for it, and when"},
	{"delivery/internal/clock", nil, "what time it is depends on nothing"},
	{"delivery/internal/events", []string{"delivery/internal/goroutine"}, "how events are passed on does not depend on what they tell"},
	{"delivery/internal/goroutine", nil, "how goroutines wait does not depend on what they do"},
	{"delivery/internal/lease", []string{"queue"}, "what an agent may send does not depend on how it is sent"},
	{"delivery/internal/object", nil, "how JSON is written depends on nothing"},
	{"delivery/internal/reports", []string{"queue", "internal/dsn"}, "whom a failure is told does not depend on how it came about"},
	{"delivery/internal/sched", nil, "what begins when is decided on values alone"},
	{"delivery/internal/session", []string{"mx", "smarthost", "internal/sasl", "internal/smtp"},
		"how a connection comes to be is the same whatever is sent over it"},
	{"delivery/internal/share", []string{"queue"}, "what agents have in common does not depend on what it is used for"},
	{"delivery/internal/sign", []string{"queue"}, "how the application's code is called does not depend on what is done with its answer"},
	{"delivery/internal/trouble", nil, "what fails on our side does not depend on who is told"},
	{"delivery/internal/waiting", []string{"queue"}, "why mail waits is told in words that a queue can keep"},
	{"delivery/internal/web", []string{"mx"}, "what may be connected to does not depend on what is fetched or sent"},
	{"delivery/metrics", []string{"mx", "queue", "delivery"}, "numbers are of what users can see"},
	{"delivery/mtasts", []string{"mx", "delivery/internal/web"}, "what a domain says of its hosts does not depend on how mail is sent"},
	{"delivery/smtptest", []string{"mx", "mx/mxtest", "smarthost", "queue", "delivery", "delivery/smtptest"},
		"people's tests use it: public packages only"},
	{"delivery/bench", []string{"mx", "smarthost", "queue", "queue/disk", "delivery", "delivery/metrics"}, "it measures what users can import"},
	{"delivery/storetest", []string{"delivery/mtasts", "delivery/tlsrpt", "delivery/trust"}, "the suites know the contracts only"},
	{"delivery/tlsrpt", []string{"mx", "queue", "delivery/internal/web"}, "a report is a message like others; who sends it is told by the caller"},
	{"delivery/trust", []string{"mx", "delivery", "delivery/dane", "delivery/mtasts", "delivery/tlsrpt"},
		"whom mail may be given to is decided outside of how it is sent"},
	{"examples", []string{"mx", "mx/mxtest", "smarthost", "queue", "queue/memory", "queue/disk", "queue/postgres", "queue/postgres/postgrestest",
		"queue/postgres/tlsstore", "queue/queuetest", "delivery",
		"delivery/dane", "delivery/metrics", "delivery/mtasts", "delivery/smtptest", "delivery/tlsrpt", "delivery/trust", "examples"},
		"examples show what users can import"},
}

// TestImports holds every package to the rule. Tests of the root module may import
// the kits and whatever else they are about; those of nested modules are held to
// what users can import, for Go itself would let them have internal packages.
func TestImports(t *testing.T) {
	nested := nestedModules(t)
	for _, s := range sources(t) {
		foreign := slices.ContainsFunc(nested, func(dir string) bool { return within(s.dir(), dir) })
		if s.isTest() && !foreign {
			continue
		}
		rule := ruleOf(s.dir())
		for _, spec := range s.file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			to, ours := strings.CutPrefix(path, module+"/")
			if !ours || slices.Contains([]string{"internal/address", "internal/age", "internal/enum", "internal/listing", "internal/smallfile", "internal/tap"}, to) {
				continue
			}
			own := slices.ContainsFunc(nested, func(dir string) bool { return within(s.dir(), dir) && within(to, dir) })
			if foreign && !own && strings.Contains("/"+to+"/", "/internal/") {
				t.Errorf("%s imports %s, and may not: a module beside the root is a user of it", s.path, to)
			}
			if rule == nil {
				t.Errorf("%s imports %s: say in mayImport what it may import", s.path, to)
				continue
			}
			if !rule.allows(to) {
				t.Errorf("%s imports %s, and may not: %s", s.path, to, rule.why)
			}
		}
	}
}

// TestImportsCatch holds the rule to what it is for: each package inside delivery
// can be read without those that use it, and nobody but delivery knows them.
func TestImportsCatch(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"delivery", "delivery/internal/attempt", true},
		{"delivery", "delivery/internal/session", true},
		{"delivery", "delivery/internal/reports", true},
		{"delivery", "queue/disk", false},
		{"delivery/internal/attempt", "delivery/internal/session", true},
		{"delivery/internal/attempt", "delivery", false},
		{"delivery/internal/attempt", "delivery/internal/reports", false},
		{"delivery/internal/attempt", "smarthost", false},
		{"delivery/internal/session", "delivery", false},
		{"delivery/internal/sched", "queue", false},
		{"delivery", "delivery/internal/sched", true},
		{"delivery/internal/session", "delivery/internal/attempt", false},
		{"delivery/internal/session", "queue", false},
		{"delivery/internal/reports", "delivery/internal/attempt", false},
		{"delivery/internal/reports", "internal/smtp", false},
		{"delivery/internal/reports", "internal/dsn", true},
		{"delivery/internal/another", "queue", false},
		{"delivery/smtptest", "delivery/internal/session", false},
		{"delivery/bench", "delivery/internal/session", false},
		{"examples/relay", "delivery/internal/reports", false},
		{"smarthost", "delivery/internal/session", false},
	} {
		if got := ruleOf(c.from).allows(c.to); got != c.allowed {
			t.Errorf("%s may import %s: %v, want %v", c.from, c.to, got, c.allowed)
		}
	}
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// TestRequirements is the golden list of what the root module requires, and so
// everybody who uses it: every addition is a decision, recorded in docs/adr.
func TestRequirements(t *testing.T) {
	want := []string{
		"github.com/emersion/go-sasl",
		"github.com/miekg/dns",
		"github.com/xdg-go/scram",
		"github.com/xdg-go/stringprep // indirect",
		"golang.org/x/net",
		"golang.org/x/sync",
		"golang.org/x/sys // indirect",
		"golang.org/x/text // indirect",
	}
	line := regexp.MustCompile(`^\s*(?:require )?(\S+\.\S+/\S+) v\S+( // indirect)?$`)
	var got []string
	for l := range strings.SplitSeq(readText(t, "go.mod"), "\n") {
		if m := line.FindStringSubmatch(l); m != nil {
			got = append(got, m[1]+m[2])
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("go.mod requires %q, want %q", got, want)
	}
}

// TestModules: nested modules that use the root really require it, and replace it; no
// workspace hides what they lack.
func TestModules(t *testing.T) {
	nested := nestedModules(t)
	if len(nested) == 0 {
		t.Error("no nested module found")
	}
	for _, dir := range nested {
		text := readText(t, dir+"/go.mod")
		uses := slices.ContainsFunc(sources(t), func(s *source) bool {
			return within(s.dir(), dir) && slices.ContainsFunc(s.file.Imports, func(i *ast.ImportSpec) bool {
				to, ours := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module+"/")
				return ours && !within(to, dir)
			})
		})
		if !uses {
			continue
		}
		if !strings.Contains(text, module+" v") || !strings.Contains(text, "replace "+module+" => ..") {
			t.Errorf("%s: it needs a require of %s and a local replace", dir, module)
		}
	}
	walk(t, func(path, _ string) {
		if filepath.Base(path) == "go.work" {
			t.Errorf("%s: a workspace hides missing requirements", path)
		}
	})
}

// nestedModules are the folders of the modules beside the root.
func nestedModules(t *testing.T) (dirs []string) {
	t.Helper()
	walk(t, func(path, _ string) {
		if dir, ok := strings.CutSuffix(path, "/go.mod"); ok {
			dirs = append(dirs, dir)
		}
	})
	return dirs
}
