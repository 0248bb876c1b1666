package tlsstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/storetest"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/queue/postgres"
	"github.com/nexthop-mail/nexthop/queue/postgres/postgrestest"
	"github.com/nexthop-mail/nexthop/queue/postgres/tlsstore"
)

// schema needs to be quoted.
const schema = `It's "TLS"`

// server is shared by the tests. TestMain sets it.
var server *postgrestest.Server

func TestMain(m *testing.M) {
	var err error
	if server, err = postgrestest.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// newPool is a pool to a database whose tables are empty.
func newPool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	p, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if err := postgres.Migrate(t.Context(), p, postgres.Options{Schema: schema}); err != nil {
		t.Fatal(err)
	}
	exec(t, p, "DELETE FROM $.mta_sts", "DELETE FROM $.proof", "DELETE FROM $.tls_counts", "DELETE FROM $.tls_report")
	return p
}

func exec(t *testing.T, p *pgxpool.Pool, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := p.Exec(t.Context(), strings.ReplaceAll(s, "$", pgx.Identifier{schema}.Sanitize())); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// TestContracts: the stores keep theirs, by the server and through a pooler without
// prepared statements.
func TestContracts(t *testing.T) {
	bouncer, err := server.Bouncer(4)
	if err != nil {
		t.Fatal(err)
	}
	defer bouncer.Close()
	for name, url := range map[string]string{"the server": server.URL(), "PgBouncer": bouncer.URL()} {
		t.Run(name, func(t *testing.T) {
			storetest.RunPolicies(t, func(t *testing.T) mtasts.Store {
				return &tlsstore.Policies{Pool: newPool(t, url), Schema: schema}
			})
			storetest.RunProofs(t, func(t *testing.T) trust.ProofStore {
				return &tlsstore.Proofs{Pool: newPool(t, url), Schema: schema}
			})
			storetest.RunReports(t, func(t *testing.T) tlsrpt.Store {
				return &tlsstore.Reports{Pool: newPool(t, url), Schema: schema}
			})
		})
	}
}

func entry(domain, id string) mtasts.Entry {
	return mtasts.Entry{Domain: domain, ID: id, Fetched: time.Unix(1e9, 0).UTC(), Policy: mtasts.Policy{MaxAge: time.Hour}}
}

// TestInvalidPolicies: what cannot be read is no absent policy, and keeps no other from
// being listed.
func TestInvalidPolicies(t *testing.T) {
	p := newPool(t, server.URL())
	s := &tlsstore.Policies{Pool: p, Schema: schema}
	for _, domain := range []string{"a.test", "b.test", "c.test"} {
		if err := s.Save(t.Context(), entry(domain, "1")); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, p, "UPDATE $.mta_sts SET entry = '{' WHERE domain = 'b.test'")
	if e, err := (&tlsstore.Policies{Pool: p, Schema: schema}).Load(t.Context(), "b.test"); !errors.Is(err, mtasts.ErrDamaged) || e.Domain != "" {
		t.Errorf("Load = %+v, %v, want an ErrDamaged", e, err)
	}
	for limit, want := range map[int]int{1: 1, 2: 2, 3: 2} {
		if all, err := s.List(t.Context(), "", limit); len(all) != want || (err != nil) != (limit > 1) {
			t.Errorf("List of %d = %+v, %v", limit, all, err)
		}
	}
	if err := s.Save(t.Context(), entry("b.test", "2")); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Load(t.Context(), "b.test"); err != nil || e.ID != "2" {
		t.Errorf("once it is replaced, Load = %+v, %v", e, err)
	}
}

// TestPoliciesAreShared: what one process stores others have, who have not looked before,
// and who have, within ten seconds.
func TestPoliciesAreShared(t *testing.T) {
	p := newPool(t, server.URL())
	ours, theirs := &tlsstore.Policies{Pool: p, Schema: schema}, &tlsstore.Policies{Pool: p, Schema: schema}
	look := func(who *tlsstore.Policies) string {
		t.Helper()
		e, err := who.Load(t.Context(), "a.test")
		if err != nil {
			t.Fatal(err)
		}
		return e.ID
	}
	look(theirs)
	for _, id := range []string{"1", "2"} {
		if err := ours.Save(t.Context(), entry("a.test", id)); err != nil {
			t.Fatal(err)
		}
		if got := look(ours); got != id {
			t.Errorf("who has saved %q sees %q", id, got)
		}
		if got := look(&tlsstore.Policies{Pool: p, Schema: schema}); got != id {
			t.Errorf("who begins after %q was saved sees %q", id, got)
		}
	}
	for deadline := time.Now().Add(time.Minute); look(theirs) != "2"; <-time.After(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("who has looked before never sees what was saved then")
		}
	}
}

// TestProofsAreShared: what one process authenticated another knows that has not looked
// before, of the host and of the domain; and so for what is forgotten.
func TestProofsAreShared(t *testing.T) {
	p := newPool(t, server.URL())
	open := func() *tlsstore.Proofs { return &tlsstore.Proofs{Pool: p, Schema: schema} }
	ours := open()
	keys := []trust.ProofKey{
		{Domain: "a.test", Host: "mx.a.test", By: "dane"}, {Domain: "a.test", By: "dane"}, {Domain: "a.test", By: "mta-sts"},
	}
	sees := func(what string, want bool) {
		t.Helper()
		for name, who := range map[string]*tlsstore.Proofs{"this process": ours, "another": open()} {
			for _, of := range keys {
				if one, err := who.Load(t.Context(), of); err != nil || (one.ProofKey == of) != want {
					t.Errorf("%s: %s has %v of %v, %v", what, name, one, of, err)
				}
			}
		}
	}
	sees("before", false)
	for _, of := range keys {
		if err := ours.Save(t.Context(), trust.Proof{ProofKey: of, At: time.Unix(1e9, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	sees("saved", true)
	if err := ours.Forget(t.Context(), time.Unix(1e9+1, 0)); err != nil {
		t.Fatal(err)
	}
	sees("forgotten", false)
}

// TestManyProofsAreForgotten, more than one statement removes.
func TestManyProofsAreForgotten(t *testing.T) {
	p := newPool(t, server.URL())
	exec(t, p, "INSERT INTO $.proof (domain, host, policy, at) SELECT 'a.test', n::text::bytea, 'dane', n FROM generate_series(1, 10001) n")
	if err := (&tlsstore.Proofs{Pool: p, Schema: schema}).Forget(t.Context(), time.UnixMicro(10001)); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := p.QueryRow(t.Context(), "SELECT count(*) FROM "+pgx.Identifier{schema}.Sanitize()+".proof").Scan(&left); err != nil || left != 1 {
		t.Errorf("%d are left, %v, want 1", left, err)
	}
}

// TestDamage: a row that makes no sense is as good as none, and is replaced.
func TestDamage(t *testing.T) {
	p := newPool(t, server.URL())
	policies := func() *tlsstore.Policies { return &tlsstore.Policies{Pool: p, Schema: schema} }
	reports := &tlsstore.Reports{Pool: p, Schema: schema}
	const day = tlsrpt.Day(20000)
	for _, domain := range []string{"a.test", "b.test", "c.test"} {
		if err := policies().Save(t.Context(), entry(domain, "1")); err != nil {
			t.Fatal(err)
		}
	}
	for _, counter := range []string{"a", "b"} {
		if err := reports.Save(t.Context(), day, counter, []tlsrpt.Tally{{Domain: counter + ".test"}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, stored, err := reports.Update(t.Context(), tlsrpt.Delivery{Day: day, Domain: "a.test", Revision: 1, Done: true}); err != nil || !stored {
		t.Fatal(stored, err)
	}
	for _, damage := range []string{"", "{", `{"domain":"z.test"}`} {
		exec(t, p, "UPDATE $.mta_sts SET entry = '"+damage+"' WHERE domain = 'a.test'",
			"UPDATE $.tls_counts SET tallies = '"+damage+"' WHERE counter = 'a'", "UPDATE $.tls_report SET delivery = '"+damage+"'")
		if e, err := policies().Load(t.Context(), "a.test"); !errors.Is(err, mtasts.ErrDamaged) || e.Domain != "" {
			t.Errorf("of %q Load = %+v, %v", damage, e, err)
		}
		if all, err := policies().List(t.Context(), "", 1); !errors.Is(err, mtasts.ErrDamaged) || len(all) != 1 || all[0].Domain != "b.test" {
			t.Errorf("beside %q List = %+v, %v", damage, all, err)
		}
		if all, err := reports.Load(t.Context(), day); err != nil || len(all) != 1 || all[0].Domain != "b.test" {
			t.Errorf("beside %q Load = %+v, %v", damage, all, err)
		}
		now, stored, err := reports.Update(t.Context(), tlsrpt.Delivery{Day: day, Domain: "a.test", Revision: 1})
		if err != nil || stored || now.Revision != 1 || now.Done {
			t.Errorf("of %q Update = %+v, %v, %v", damage, now, stored, err)
		}
	}
	if err := policies().Save(t.Context(), entry("a.test", "2")); err != nil {
		t.Error(err)
	}
	if _, stored, err := reports.Update(t.Context(), tlsrpt.Delivery{Day: day, Domain: "a.test", Revision: 2}); err != nil || !stored {
		t.Errorf("after damage Update = %v, %v", stored, err)
	}
}

func TestLastContact(t *testing.T) {
	p := newPool(t, server.URL())
	r := &tlsstore.Reports{Pool: p, Schema: schema, Contact: "tls@first.example"}
	want := func(want string) {
		t.Helper()
		if got, err := (&tlsstore.Reports{Pool: p, Schema: schema}).LastContact(t.Context()); err != nil || got != want {
			t.Errorf("LastContact = %q, %v, want %q", got, err, want)
		}
	}
	want("")
	if err := r.Save(t.Context(), 20000, "a", nil); err != nil {
		t.Fatal(err)
	}
	want("tls@first.example")
	r.Contact = "tls@second.example"
	if err := r.Save(t.Context(), 20001, "a", nil); err != nil {
		t.Fatal(err)
	}
	want("tls@second.example")
}

// TestErrors: a store without a database says so, and calls end with their context.
func TestErrors(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	calls := func(p *pgxpool.Pool, ctx context.Context) map[string]error {
		policies, reports := &tlsstore.Policies{Pool: p, Schema: schema}, &tlsstore.Reports{Pool: p, Schema: schema}
		proofs := &tlsstore.Proofs{Pool: p, Schema: schema}
		all := map[string]error{
			"Save": policies.Save(ctx, entry("a.test", "1")), "Delete": policies.Delete(ctx, "a.test"),
			"Save of counts": reports.Save(ctx, 1, "a", nil), "Forget": reports.Forget(ctx, 1),
		}
		all["Save of a proof"], all["Delete of a proof"] = proofs.Save(ctx, trust.Proof{}), proofs.Delete(ctx, trust.ProofKey{})
		all["Forget of proofs"] = proofs.Forget(ctx, time.Now())
		_, all["Load of a proof"] = proofs.Load(ctx, trust.ProofKey{})
		_, all["Load"] = policies.Load(ctx, "a.test")
		_, all["List"] = policies.List(ctx, "", 1)
		_, all["Load of counts"] = reports.Load(ctx, 1)
		_, _, all["Update"] = reports.Update(ctx, tlsrpt.Delivery{Revision: 1})
		_, all["LastContact"] = reports.LastContact(ctx)
		return all
	}
	for what, err := range calls(nil, t.Context()) {
		if err == nil || !strings.Contains(err.Error(), ".Pool") {
			t.Errorf("without a pool %s = %v", what, err)
		}
	}
	for what, err := range calls(newPool(t, server.URL()), gone) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("without time %s = %v", what, err)
		}
	}
}
