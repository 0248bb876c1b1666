package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue/postgres/postgrestest"
)

// newDatabase starts a server and makes the tables of a queue in it.
func newDatabase(t *testing.T) *postgrestest.Server {
	t.Helper()
	server, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	if out, err := command("migrate", "-queue", server.URL()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return server
}

// sql executes a statement.
func sql(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

// queried is what a query says in one word.
func queried(t *testing.T, url, query string) (word string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := conn.QueryRow(t.Context(), query).Scan(&word); err != nil {
		t.Fatal(err)
	}
	return word
}

// TestMigrateCommand: a relay refuses a database without tables and names the command that
// makes them; what that prints without doing it does the same.
func TestMigrateCommand(t *testing.T) {
	t.Parallel()
	server, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	run := func(code int, want string, words ...string) string {
		t.Helper()
		c := command(words...)
		out, _ := c.CombinedOutput()
		if c.ProcessState.ExitCode() != code || !strings.Contains(string(out), want) {
			t.Errorf("%q: exit code %d, want %d, and %q in\n%s", words, c.ProcessState.ExitCode(), code, want, out)
		}
		return string(out)
	}
	for _, schema := range []string{"", "&schema=other+one"} {
		url := server.URL() + schema
		refused := func() {
			t.Helper()
			run(cli.ExitConfig, "relay migrate -queue", "-queue", url, "-listen", "127.0.0.1:0")
			run(cli.ExitConfig, "relay migrate -queue", "queue", "-queue", url, "list")
		}
		refused()
		text := run(0, "CREATE TABLE", "migrate", "-queue", url, "-dry-run")
		refused()
		if schema == "" {
			run(0, "version", "migrate", "-queue", url)
		} else {
			sql(t, server.URL(), text)
		}
		run(0, "nothing is to be done", "migrate", "-queue", url)
		run(0, "", "queue", "-queue", url, "list")
		if out := run(0, "", "migrate", "-queue", url, "-dry-run"); out != "" {
			t.Errorf("of a database that has everything it prints %s", out)
		}
	}
	sql(t, server.URL(), "UPDATE nexthop.version SET least = 1000")
	run(cli.ExitConfig, "newer", "-queue", server.URL(), "-listen", "127.0.0.1:0")
	run(cli.ExitConfig, "newer", "migrate", "-queue", server.URL())
	run(cli.ExitConfig, "", "migrate", "-queue", strings.Replace(server.URL(), "user=nexthop", "user=nobody", 1))
	run(cli.ExitConfig, "", "migrate", "-queue", strings.Replace(server.URL(), "/postgres?", "/nosuch?", 1))
	server.Kill()
	run(cli.ExitTempFail, "", "migrate", "-queue", server.URL())
	run(cli.ExitTempFail, "", "-queue", server.URL(), "-listen", "127.0.0.1:0")
}

// fetched is what the relay's web server answers.
func fetched(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// TestRelayOutlivesItsDatabase: while the database is away, the relay answers 451, is alive
// and not ready, and says so in its metrics; when it is back, mail flows. The URL is in a
// file.
func TestRelayOutlivesItsDatabase(t *testing.T) {
	t.Parallel()
	server := newDatabase(t)
	w := newWorld(t, zone)
	com := modern("mail.example.com")
	w.start("127.0.0.2", com)
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(server.URL()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := w.relay("-queue", "@"+file, "-http", "127.0.0.1:0")
	client := r.client("127.0.0.1")
	send := func() int {
		report, err := submit(t, client, "one", "b@example.com")
		if err == nil {
			return 250
		}
		return report.Recipients[0].Reply.Code
	}
	ready := func() bool { code, _ := fetched(t, r.http+"/readyz"); return code == http.StatusOK }
	metric := func(name string) bool {
		_, text := fetched(t, r.http+"/metrics")
		return strings.Contains(text, "\n"+name+"\n")
	}
	if code := send(); code != 250 || !ready() {
		t.Fatalf("with a database the answer is %d", code)
	}
	eventually(t, "the metrics are those of a database that works", func() bool {
		return metric("nexthop_postgres_answers 1") && metric("nexthop_postgres_listening 1") && metric("nexthop_postgres_connections_max 16")
	})
	sql(t, server.URL(), "CREATE ROLE successor SUPERUSER LOGIN")
	replace(t, file, strings.Replace(server.URL(), "user=nexthop", "user=successor", 1))
	server.Kill()
	if code := send(); code != 451 {
		t.Errorf("without a database the answer is %d, want 451", code)
	}
	if code, _ := fetched(t, r.http+"/healthz"); code != http.StatusOK || ready() {
		t.Errorf("without a database it is not alive (%d), or ready", code)
	}
	if out, errs, code := queueCommand("@"+file, "list"); code != cli.ExitTempFail || errs == "" {
		t.Errorf("without a database a command exits with %d, %q", code, out)
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is ready again", ready)
	eventually(t, "it takes mail again", func() bool { return send() == 250 })
	eventually(t, "mail is delivered", func() bool { return len(com.Messages()) >= 2 })
	eventually(t, "it listens again", func() bool { return metric("nexthop_postgres_listening 1") })
	if got := queried(t, server.URL(), "SELECT string_agg(DISTINCT usename, ' ') FROM pg_stat_activity WHERE application_name = 'relay'"); got != "successor" {
		t.Errorf("its connections are of %s, want them of the one who is in the file by now", got)
	}
	r.stop()
}

// TestFlushOfSeveral: what makes mail due is heeded by every relay, also one that has found
// the host down itself.
func TestFlushOfSeveral(t *testing.T) {
	t.Parallel()
	server := newDatabase(t)
	w := newWorld(t, zone)
	args := []string{"-queue", server.URL(), "-warn", "0", "-retry", "1h"}
	relays := []*process{w.relay(args...), w.relay(args...), w.relay(args...)}
	for i, r := range relays {
		for _, domain := range []string{"example.com", "two.example", "sub.two.example"} {
			if _, err := submit(t, r.client("127.0.0.1"), "one", string(rune('a'+i))+"@"+domain); err != nil {
				t.Fatal(err)
			}
		}
	}
	sites := func() string {
		out, _ := command("sites", "-queue", server.URL(), "-json").Output()
		return string(out)
	}
	eventually(t, "both sites are known to be down", func() bool {
		out := sites()
		return strings.Contains(out, `"site":"mail.two.example","destinations":["sub.two.example","two.example"]`) &&
			strings.Count(out, `"state":"site-down"`) == 2 && strings.Count(out, "\n") == 2
	})
	com, two := modern("mail.example.com"), modern("mail.two.example")
	w.start("127.0.0.2", com)
	w.start("127.0.0.5", two)
	if out, errs, code := queueCommand(server.URL(), "flush"); code != 0 || !strings.Contains(out, "due now") {
		t.Fatalf("flush: %d %s %s", code, out, errs)
	}
	eventually(t, "all of it is delivered", func() bool { return len(com.Messages())+len(two.Messages()) == 9 })
	relays[0].kill() // a command does not wait for the dead for long
	relays[1].stop() // nor for those that have stopped
	if _, err := submit(t, relays[2].client("127.0.0.1"), "two", "a@example.org"); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := queueCommand(server.URL(), "flush", "example.org", "-json"); code != 0 || !strings.HasPrefix(out, `{"flushed":`) {
		t.Errorf("flush: %d %s %s", code, out, errs)
	}
	relays[2].stop()
}

// TestRelaysBehindAPooler: relays and commands work through PgBouncer in transaction mode,
// which gives no relay a connection to listen on. What was authenticated is in the database.
func TestRelaysBehindAPooler(t *testing.T) {
	t.Parallel()
	server := newDatabase(t)
	pooler, err := server.Bouncer(4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pooler.Close() })
	w := newWorld(t, zone)
	com := modern("mail.example.com")
	w.start("127.0.0.2", com)
	sql(t, server.URL(), `INSERT INTO nexthop.proof (domain, host, policy, at)
		SELECT d, '', 'dane', (extract(epoch FROM now() - age) * 1e6)::bigint
		FROM (VALUES ('old.example'::bytea, interval '200 days'), ('new.example', interval '100 days')) x (d, age)`)
	args := []string{"-queue", pooler.URL(), "-warn", "0", "-retry", "1h", "-tls-reports", "tls@relay.example.net"}
	relays := []*process{w.relay(args...), w.relay(args...)}
	for _, r := range relays {
		if _, err := submit(t, r.client("127.0.0.1"), "one", "a@example.com", "b@two.example"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "what can be delivered is", func() bool { return len(com.Messages()) == 2 })
	eventually(t, "proofs of half a year ago are forgotten", func() bool {
		return queried(t, server.URL(), "SELECT string_agg(encode(domain, 'escape'), ' ') FROM nexthop.proof") == "new.example"
	})
	eventually(t, "the other site is known to be down", func() bool {
		out, _ := command("sites", "-queue", pooler.URL(), "-json").Output()
		return strings.Count(string(out), `"state":"site-down"`) == 1
	})
	if out, errs, code := tlsReportsCommand(pooler.URL()); code != 0 || !strings.Contains(out, "example.com no-policy-found") {
		t.Errorf("tls-reports: %d %s %s", code, out, errs)
	}
	two := modern("mail.two.example")
	w.start("127.0.0.5", two)
	if out, errs, code := queueCommand(pooler.URL(), "flush"); code != 0 {
		t.Errorf("flush: %d %s %s", code, out, errs)
	}
	eventually(t, "the rest is delivered", func() bool { return len(two.Messages()) == 2 })
	for _, r := range relays {
		r.stop()
	}
}
