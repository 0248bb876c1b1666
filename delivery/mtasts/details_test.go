package mtasts_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// countingStore counts what is saved, and fails when it is told to.
type countingStore struct {
	mtasts.Memory
	saved, deleted        int
	loads, saves, deletes error
	beforeLoad            func()
}

func (c *countingStore) Load(ctx context.Context, domain string) (mtasts.Entry, error) {
	if f := c.beforeLoad; f != nil {
		c.beforeLoad = nil
		f()
	}
	if c.loads != nil {
		return mtasts.Entry{}, c.loads
	}
	return c.Memory.Load(ctx, domain)
}

func (c *countingStore) Save(ctx context.Context, e mtasts.Entry) error {
	if c.saved++; c.saves != nil {
		return c.saves
	}
	return c.Memory.Save(ctx, e)
}

func (c *countingStore) Delete(ctx context.Context, domain string) error {
	if c.deleted++; c.deletes != nil {
		return c.deletes
	}
	return c.Memory.Delete(ctx, domain)
}

func TestUseIsNotedNowAndThen(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s, store := w.source(), &countingStore{}
		s.Store = store
		s.Find(t.Context(), "e.test")
		for range 59 {
			time.Sleep(time.Minute)
			s.Find(t.Context(), "e.test")
		}
		if store.saved != 1 {
			t.Errorf("saved %d times within an hour, want once", store.saved)
		}
		time.Sleep(time.Minute)
		s.Find(t.Context(), "e.test")
		e, err := store.Memory.Load(t.Context(), "e.test")
		if store.saved != 2 || err != nil || !e.Used.Equal(time.Now()) || e.Fetched.Equal(time.Now()) {
			t.Errorf("after an hour saved %d times, used %v", store.saved, e.Used)
		}
	})
}

func TestNewPolicyIsNotOverwritten(t *testing.T) {
	t.Run("TLS-17 by the note that the old one was used", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			s.Find(t.Context(), "e.test")
			time.Sleep(2 * time.Hour)
			w.record("v=STSv1; id=2")
			w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 2)
			w.want(s.Find(t.Context(), "e.test"), mtasts.Live, mtasts.Enforce, 2)
		})
	})
	t.Run("TLS-17 by another agent's note", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			store := &countingStore{}
			mine, other := w.source(), w.source()
			mine.Store, other.Store = store, &store.Memory
			mine.Find(t.Context(), "e.test")
			time.Sleep(2 * time.Hour)
			// While this agent is about to note the use, another fetches a new policy.
			store.beforeLoad = func() {
				store.beforeLoad = func() {
					w.record("v=STSv1; id=2")
					other.Find(t.Context(), "e.test")
				}
			}
			w.want(mine.Find(t.Context(), "e.test"), mtasts.Live, mtasts.Enforce, 2)
			if e, err := store.Memory.Load(t.Context(), "e.test"); err != nil || e.ID != "2" {
				t.Errorf("the store has id %q, %v, want the new one", e.ID, err)
			}
		})
	})
	t.Run("TLS-17 what another agent has removed is not brought back", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			store := &countingStore{}
			s := w.source()
			s.Store = store
			s.Find(t.Context(), "e.test")
			time.Sleep(2 * time.Hour)
			store.beforeLoad = func() {
				store.beforeLoad = func() {
					if err := store.Memory.Delete(t.Context(), "e.test"); err != nil {
						t.Error(err)
					}
				}
			}
			w.want(s.Find(t.Context(), "e.test"), mtasts.Live, mtasts.Enforce, 1)
			if all, err := store.List(t.Context(), "", 10); err != nil || len(all) > 0 {
				t.Errorf("the store has %+v, %v", all, err)
			}
		})
	})
	t.Run("TLS-14 who comes late finds what another agent has fetched", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			store := &countingStore{}
			mine, other := w.source(), w.source()
			mine.Store, other.Store = store, &store.Memory
			store.beforeLoad = func() {
				store.beforeLoad = func() { other.Find(t.Context(), "e.test") }
			}
			w.want(mine.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 1)
		})
	})
}

func TestWhoIsToldOfStores(t *testing.T) {
	broken := errors.New("broken")
	bubble(t, func(t *testing.T, w *world) {
		s, store := w.source(), &countingStore{}
		s.Store = store
		w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 1) // nobody to tell
		var told []string
		s.Trace = &mtasts.Trace{}
		store.loads = broken
		s.Find(t.Context(), "e.test") // nobody who wants to know
		s.Trace.StoreFailed = func(domain string, err error) {
			if told = append(told, domain); !errors.Is(err, broken) {
				t.Errorf("told of %v", err)
			}
		}
		store.loads, store.saves = nil, broken
		w.record("v=STSv1; id=2")
		w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 3)
		if !slices.Equal(told, []string{"e.test"}) {
			t.Errorf("of a policy that cannot be saved told of %q", told)
		}
		told = nil
		store.saves, store.deletes = nil, broken
		time.Sleep(8 * day)
		s.Refresh(t.Context())
		if !slices.Equal(told, []string{"e.test"}) || store.deleted != 1 {
			t.Errorf("of a policy that cannot be removed told of %q", told)
		}
		told = nil
		store.deletes = nil
		s.Refresh(t.Context())
		if len(told) > 0 {
			t.Errorf("of a policy that is removed told of %q", told)
		}
	})
}

func TestRoundsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.source()
		s.Find(t.Context(), "e.test")
		next := s.Refresh(t.Context())
		if left := time.Until(next); left != time.Hour {
			t.Errorf("with nothing to do the next round is in %v, want an hour", left)
		}
		time.Sleep(day)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.Refresh(ctx)
		if n := w.fetched(); n != 1 {
			t.Errorf("after its end a round fetches: %d times", n)
		}
		next = s.Refresh(t.Context())
		if n := w.fetched(); n != 2 || !next.After(time.Now()) {
			t.Errorf("a round returns before its fetches have ended: %d, %v", n, next)
		}
		w.down(true)
		time.Sleep(day)
		told := false
		s.Trace = &mtasts.Trace{Fetched: func(string, mtasts.Entry, error) { told = true }}
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		s.Refresh(short)
		synctest.Wait()
		if told {
			t.Error("a round that ended is told of as a failure of the host")
		}
	})
}

func TestDefaultFetcher(t *testing.T) {
	s := mtasts.Source{Resolver: &mxtest.DNS{Zone: "_mta-sts.e.test TXT \"v=STSv1; id=1\"\nmta-sts.e.test A 127.0.0.1"}}
	found := s.Find(t.Context(), "e.test")
	if failure(found.Err) != "sts-policy-fetch-error address-not-public" {
		t.Errorf("error is %v", found.Err)
	}
	if found.ResultType() != mtasts.FetchError {
		t.Errorf("it is reported as %q", found.ResultType())
	}
}

func TestFieldsOfFetchers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		f := w.fetcher()
		f.UserAgent, f.Timeout = "test/1", 10*time.Second
		if _, err := f.Fetch(t.Context(), "e.test"); err != nil || w.gets[0] != "GET mta-sts.e.test/.well-known/mta-sts.txt test/1" {
			t.Errorf("error is %v, requests are %q", err, w.gets)
		}
		w.handle(func(conn net.Conn, _ *http.Request) { _, _ = conn.Read(make([]byte, 1)) })
		start := time.Now()
		if _, err := f.Fetch(t.Context(), "e.test"); failure(err) != "sts-policy-fetch-error timeout" || time.Since(start) != 10*time.Second {
			t.Errorf("after %v the error is %v, want a timeout after 10s", time.Since(start), err)
		}
		w.reply("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: Identity\r\n\r\n" + goodPolicy)
		if _, err := f.Fetch(t.Context(), "e.test"); err != nil {
			t.Errorf("TLS-14 of a policy that says it is not encoded the error is %v", err)
		}
		w.down(true)
		if _, err := f.Fetch(t.Context(), "e.test"); !strings.Contains(err.Error(), "203.0.113.1:443") || !strings.Contains(err.Error(), "[2001:db8::1]:443") {
			t.Errorf("the error does not say where it has tried: %v", err)
		}
		w.down(false)
		// An authority that may not sign certificates: not a matter of dates.
		by, signed := w.certificate(w.caOf, &w.ca)
		w.cert, _ = w.certificate(signed, &by, forName("mta-sts.e.test"))
		w.cert.Certificate = append(w.cert.Certificate, signed.Raw)
		if _, err := f.Fetch(t.Context(), "e.test"); failure(err) != "sts-webpki-invalid certificate-not-trusted" {
			t.Errorf("TLS-13 by who is no authority the error is %q, %v", failure(err), err)
		}
	})
}

func TestWhatTheRecordWas(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.source()
		for _, test := range []struct{ domain, record, want string }{
			{"[192.0.2.1]", "", "not a domain name"},
			{"a..b", "", "not a domain name"},
			{"", "", "not a domain name"},
			{"a\nMTA-STS of b.test", "", "not a domain name"},
			{"e.test", "", "no record"},
			{"e.test", "v=STSv1;", "no id"},
			{"e.test", "v=STSv1; id=AZaz09", "id AZaz09"},
		} {
			w.record(test.record)
			if found := s.Find(t.Context(), test.domain); found.Record != test.want {
				t.Errorf("of %q with %q the record is %q, want %q", test.domain, test.record, found.Record, test.want)
			} else if test.record == "" && strings.Count(found.String(), "\n") != 1 {
				t.Errorf("of %q is told %q", test.domain, found.String())
			}
		}
		if err := w.Set(mxtest.Rule{Name: "_mta-sts.e.test", Fault: mxtest.ServFail}); err != nil {
			t.Fatal(err)
		}
		if found := s.Find(t.Context(), "e.test"); !strings.Contains(found.Record, "server failure") || found.Origin != mtasts.Cached {
			t.Errorf("without an answer the record is %q, the policy %v", found.Record, found.Origin)
		}
		var none mtasts.Found
		if none.ResultType() != "" || strings.Count(none.String(), "\n") != 1 {
			t.Errorf("nothing is %q, %q", none.ResultType(), none.String())
		}
	})
}

func TestEdgesOfTheGrammar(t *testing.T) {
	const rest = "version: STSv1\nmode: enforce\nmx: mx.e.test\nmax_age: 1\n"
	for line, ok := range map[string]bool{
		strings.Repeat("k", 32) + ": v": true, strings.Repeat("k", 33) + ": v": false,
		"-k: v": false, ".k: v": false, "_k: v": false, "9k: v": true, "Zk: v": true, "k-: v": true,
		": v": false, "k: \x7f": false, "k: a\tb": true, "k:": true,
	} {
		if _, err := mtasts.ParsePolicy([]byte(rest + line)); (err == nil) != ok {
			t.Errorf("TLS-15 line %q: %v", line, err)
		}
	}
	_, err := mtasts.ParsePolicy([]byte(strings.Repeat("x", 100_000)))
	if err == nil || len(err.Error()) > 200 {
		t.Errorf("TLS-15 of a line without end the error has %d octets", len(err.Error()))
	}
	p, err := mtasts.ParsePolicy([]byte("\ufeff\n" + rest + "\n\n"))
	if err != nil || len(p.Notes) != 2 {
		t.Errorf("TLS-15 notes are %q, %v; want each once", p.Notes, err)
	}
}

// TestOneFetchForAll: a policy that is due to be fetched again, and that a message needs
// since its id is new, is fetched once.
func TestOneFetchForAll(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.source()
		s.Find(t.Context(), "e.test")
		pass(25 * time.Hour)
		w.record("v=STSv1; id=2;")
		hold := make(chan struct{})
		w.handle(func(conn net.Conn, _ *http.Request) {
			<-hold
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: "+strconv.Itoa(len(goodPolicy))+"\r\n\r\n"+goodPolicy)
		})
		var both sync.WaitGroup
		both.Go(func() { s.Refresh(t.Context()) })
		synctest.Wait()
		var found mtasts.Found
		both.Go(func() { found = s.Find(t.Context(), "e.test") })
		synctest.Wait()
		close(hold)
		both.Wait()
		if n := w.fetched(); n != 2 || found.ID != "2" || found.Origin != mtasts.Fetched {
			t.Errorf("%d fetches, and id %s was %v; want 2, the first among them", n, found.ID, found.Origin)
		}
	})
}

// TestFilesOfAProcessThatDied are removed, and not those that are being written.
func TestFilesOfAProcessThatDied(t *testing.T) {
	dir := t.TempDir()
	old, young := filepath.Join(dir, ".mta-sts-1"), filepath.Join(dir, ".mta-sts-2")
	for _, name := range []string{old, young} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	if _, err := (&mtasts.Dir{Path: dir}).List(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("the old one is there")
	}
	if _, err := os.Stat(young); err != nil {
		t.Error("the young one is gone")
	}
}
