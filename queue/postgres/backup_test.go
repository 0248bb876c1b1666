package postgres_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/postgres"
)

// tool runs a program of PostgreSQL on the shared server and returns what it prints.
func tool(t *testing.T, name string, input string, args ...string) string {
	t.Helper()
	c, err := shared.server.Tool(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	c.Stdin = strings.NewReader(input)
	var errs strings.Builder
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, errs.String())
	}
	return string(out)
}

// A backup by pg_dump has all that was in the queue when it was begun: what was delivered
// since is delivered again, and no id is given that has been given before.
func TestBackup(t *testing.T) {
	p := pool(t, shared.server.URL())
	q, o := open(t, p, postgres.Options{})
	var put []string
	for _, content := range []string{"short", strings.Repeat("long\x00\xff ", 100_000)} {
		id, err := q.Put(t.Context(), time.Now(), mail(content, "a@one.example", "b@two.example"))
		if err != nil {
			t.Fatal(err)
		}
		put = append(put, id)
	}
	if err := q.Hold(t.Context(), put[0]); err != nil {
		t.Fatal(err)
	}
	got, err := q.Claim(t.Context(), time.Now(), queue.ClaimOptions{}) // the backup has these leases
	if err != nil || len(got.Deliveries) != 2 {
		t.Fatalf("Claim = %+v, %v", got, err)
	}
	dump := tool(t, "pg_dump", "", "--schema", `"`+o.Schema+`"`)
	texts(t, q) // what is put and delivered afterwards
	tool(t, "createdb", "", "restored")
	tool(t, "psql", dump, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "restored")

	r := another(t, pool(t, strings.Replace(shared.server.URL(), "/postgres?", "/restored?", 1)), o)
	if err := r.Release(t.Context(), put[0]); err != nil {
		t.Fatal(err)
	}
	id, err := r.Put(t.Context(), time.Now(), mail("new", "a@one.example"))
	if err != nil || slices.Contains(put, id) {
		t.Errorf("Put = %s, %v", id, err)
	}
	now := time.Now().Add(2 * queue.DefaultLease)
	again, err := r.Claim(t.Context(), now, queue.ClaimOptions{})
	if err != nil || len(again.Deliveries) != 5 {
		t.Fatalf("the restored queue has %d deliveries, %v, want 5", len(again.Deliveries), err)
	}
	for _, d := range again.Deliveries {
		if d.Lease.Message == put[1] && d.Size != 700_000 {
			t.Errorf("the long content has %d octets", d.Size)
		}
	}
	list, err := queue.List(t.Context(), r, queue.ListOptions{})
	if err != nil || len(list.Entries) != 3 {
		t.Errorf("List = %d messages, %v", len(list.Entries), err)
	}
}
