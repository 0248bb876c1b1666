package postgres_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	command "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// before is the last commit of the version of the schema before the steps that an upgrade
// is tested with, and version is that version.
const (
	before  = "8774722f6824"
	version = 4
)

// builtBefore builds the agent of that commit. It is empty in a copy of the sources that
// has no history, or not as much, as a shallow clone.
func builtBefore(t *testing.T) string {
	t.Helper()
	root := filepath.Join("..", "..")
	if err := command.Command("git", "-C", root, "cat-file", "-e", before+"^{commit}").Run(); err != nil {
		return ""
	}
	archive, err := command.Command("git", "-C", root, "archive", before).Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag != tar.TypeReg || !strings.HasSuffix(h.Name, ".go") && !strings.HasSuffix(h.Name, ".sql") && !strings.Contains(h.Name, "go.") {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	agent, err := os.ReadFile(filepath.Join("internal", "agent", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "queue", "postgres", "internal", "agent")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at, "main.go"), agent, 0o644); err != nil {
		t.Fatal(err)
	}
	return built(t, filepath.Join(dir, "queue", "postgres"))
}

// built builds the agent of a tree.
func built(t *testing.T, module string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "agent")
	if out, err := command.Command("go", "build", "-C", module, "-trimpath", "-buildvcs=false", "-o", binary, "./internal/agent").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// diary is what agents have printed.
type diary struct {
	mu     sync.Mutex
	times  map[string]int // how often a line was printed
	number map[string]int // how often its first word was, by agent
}

// agent runs one until stop is called, which wants it to end well.
func (d *diary) agent(t *testing.T, name, binary, url, schema string) (stop func()) {
	t.Helper()
	c := command.Command(binary, url, schema)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			line := lines.Text()
			word, _, _ := strings.Cut(line, " ")
			if word == "error" {
				t.Errorf("%s: %s", name, line)
			}
			d.mu.Lock()
			d.times[line]++
			d.number[name+" "+word]++
			d.mu.Unlock()
		}
	})
	return sync.OnceFunc(func() {
		_ = in.Close()
		reading.Wait()
		if err := c.Wait(); err != nil {
			t.Errorf("%s ends with %v", name, err)
		}
	})
}

// more waits until agents have put and delivered more, each of them.
func (d *diary) more(t *testing.T, names ...string) {
	t.Helper()
	const least = 15
	was := make(map[string]int)
	enough := func(begin bool) bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, name := range names {
			for _, word := range []string{" put", " delivered", " deferred"} {
				if begin {
					was[name+word] = d.number[name+word]
				} else if d.number[name+word] < was[name+word]+least {
					return false
				}
			}
		}
		return true
	}
	enough(true)
	for deadline := time.Now().Add(2 * time.Minute); !enough(false); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("some do not put or deliver any more: %v", d.number)
		}
	}
}

// Agents of the version before go on while the database is migrated under them, and beside
// agents of this version: each message is delivered, once.
func TestRollingUpgrade(t *testing.T) {
	old, current := builtBefore(t), built(t, ".")
	if old == "" {
		t.Log("without the history there is no version before this one")
		return
	}
	p, o := pool(t, shared.server.URL()), postgres.Options{Schema: shared.named()}
	steps, err := postgres.Steps(o.Schema)
	if err != nil {
		t.Fatal(err)
	}
	sql := "CREATE SCHEMA " + pgx.Identifier{o.Schema}.Sanitize() + ";"
	for _, s := range steps[:version] {
		sql += s.SQL
	}
	if _, err := p.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	d := &diary{times: make(map[string]int), number: make(map[string]int)}
	var stops []func()
	start := func(name, binary string) string {
		stop := d.agent(t, name, binary, shared.server.URL(), o.Schema)
		t.Cleanup(stop)
		stops = append(stops, stop)
		return name
	}
	olds := []string{start("old 1", old), start("old 2", old)}
	d.more(t, olds...)
	if err := postgres.Migrate(t.Context(), p, o); err != nil {
		t.Fatal(err)
	}
	d.more(t, olds...)
	news := []string{start("new 1", current), start("new 2", current)}
	d.more(t, append(olds, news...)...)
	stops[0]()
	stops[1]()
	d.more(t, news...)
	olds = []string{start("old 3", old)} // of a machine that was forgotten
	d.more(t, append(olds, news...)...)
	for _, stop := range stops {
		stop()
	}
	q := another(t, p, o)
	for deadline := time.Now().Add(time.Minute); ; {
		got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var batch []queue.Settlement
		for _, one := range got.Deliveries {
			batch = append(batch, queue.Settlement{
				Lease: one.Lease, Results: []queue.Result{{Recipient: one.States[0].Index, Outcome: queue.Delivered}},
			})
			d.times["delivered "+one.Lease.Message]++
		}
		if _, err := q.Settle(t.Context(), time.Now(), batch); err != nil {
			t.Fatal(err)
		}
		if total, err := q.Total(t.Context()); err == nil && total.Messages == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("some messages stay in the queue")
		}
	}
	puts := 0
	for line, n := range d.times {
		if id, ok := strings.CutPrefix(line, "put "); ok {
			if puts++; n != 1 || d.times["delivered "+id] != 1 {
				t.Errorf("%s was put %d times, and delivered %d times", id, n, d.times["delivered "+id])
			}
		}
	}
	t.Log(fmt.Sprint(puts, " messages, ", d.number))
}
