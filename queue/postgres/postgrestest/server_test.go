package postgrestest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue/postgres/postgrestest"
)

func ask(t *testing.T, url, question string) (answer string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), question).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestServer(t *testing.T) {
	server, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	ask(t, server.URL(), "WITH made AS (SELECT lo_from_bytea(4711, 'it')) SELECT 'made' FROM made")
	t.Run("what was committed is there after the death of all processes", func(t *testing.T) {
		server.Kill()
		if _, err := pgx.Connect(t.Context(), server.URL()); err == nil {
			t.Error("a server that was killed takes connections")
		}
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, server.URL(), "SELECT convert_from(lo_get(4711), 'UTF8')"); got != "it" {
			t.Errorf("the object has %q", got)
		}
	})
	t.Run("a bouncer in transaction mode", func(t *testing.T) {
		b, err := server.Bouncer(2)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if got := ask(t, b.URL(), "SELECT convert_from(lo_get(4711), 'UTF8')"); got != "it" {
			t.Errorf("the object has %q", got)
		}
	})
}

func TestStandby(t *testing.T) {
	for _, c := range []struct {
		name                  string
		synchronous, detached bool
	}{
		{"a synchronous one has all", true, false},
		{"one that follows nobody has what was there before", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			primary, err := postgrestest.Start()
			if err != nil {
				t.Fatal(err)
			}
			defer primary.Close()
			standby, err := primary.Standby(t.Context(), c.synchronous)
			if err != nil {
				t.Fatal(err)
			}
			defer standby.Close()
			both := postgrestest.URL(standby, primary)
			if c.detached {
				if err := standby.Detach(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			ask(t, both, "WITH made AS (SELECT lo_from_bytea(4711, 'it')) SELECT 'made' FROM made")
			primary.Kill()
			if err := standby.Promote(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := "1"
			if c.detached {
				want = "0"
			}
			if got := ask(t, both, "SELECT count(*)::text FROM pg_largeobject_metadata"); got != want {
				t.Errorf("the standby has %s objects, want %s", got, want)
			}
		})
	}
}
