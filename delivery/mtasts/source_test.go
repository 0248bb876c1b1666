package mtasts_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

const day = 24 * time.Hour

// want compares what was found with an origin and a mode, and how often a policy was
// fetched since the beginning.
func (w *world) want(found mtasts.Found, origin mtasts.Origin, mode mtasts.Mode, fetched int) {
	w.t.Helper()
	got := mtasts.None
	if found.Policy != nil {
		got = found.Policy.Mode
	}
	if found.Origin != origin || got != mode || w.fetched() != fetched {
		w.t.Errorf("it is %v of mode %v, fetched %d times; want %v, %v, %d times:\n%s", found.Origin, got, w.fetched(), origin, mode, fetched, found.String())
	}
	if found.Applies() != (got != mtasts.None) || found.Enforced() != (got == mtasts.Enforce) {
		w.t.Errorf("it applies: %v, is enforced: %v", found.Applies(), found.Enforced())
	}
}

func TestFind(t *testing.T) {
	t.Run("TLS-17 fetched once, while its id stays", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 1)
			w.want(s.Find(t.Context(), "E.Test."), mtasts.Live, mtasts.Enforce, 1)
			time.Sleep(6 * day)
			w.want(s.Find(t.Context(), "e.test"), mtasts.Live, mtasts.Enforce, 1)
			found := s.Find(t.Context(), "e.test")
			if found.ID != "1" || found.Expires.Sub(found.Fetched) != 7*day || found.Err != nil || found.Record != "id 1" {
				t.Errorf("found %+v", found)
			}
			time.Sleep(day + time.Second)
			w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 2)
		})
	})
	t.Run("TLS-17 a new id is fetched at once", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			s.Find(t.Context(), "e.test")
			w.record("v=STSv1; id=2")
			w.serve("version: STSv1\nmode: none\nmax_age: 86400")
			w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.None, 2)
			w.want(s.Find(t.Context(), "e.test"), mtasts.Live, mtasts.None, 2)
		})
	})
	t.Run("TLS-17 the host is down, the old policy stays until it expires", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			s.Find(t.Context(), "e.test")
			w.record("v=STSv1; id=2")
			w.respond("500 Broken", "text/plain", "")
			for n := range 6 {
				time.Sleep(day)
				found := s.Find(t.Context(), "e.test")
				w.want(found, mtasts.Kept, mtasts.Enforce, n+2)
				if found.ResultType() != mtasts.FetchError || found.ID != "1" {
					t.Errorf("TLS-44 it is reported as %q, its id is %q", found.ResultType(), found.ID)
				}
			}
			time.Sleep(day + time.Second)
			found := s.Find(t.Context(), "e.test")
			w.want(found, mtasts.NoPolicy, mtasts.None, 8)
			if found.ResultType() != mtasts.FetchError {
				t.Errorf("TLS-18 it is reported as %q", found.ResultType())
			}
		})
	})
	t.Run("TLS-17 the new policy is nonsense, the old one stays", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			s.Find(t.Context(), "e.test")
			w.record("v=STSv1; id=2")
			w.serve("version: STSv1\nmode: Enforce\n")
			found := s.Find(t.Context(), "e.test")
			w.want(found, mtasts.Kept, mtasts.Enforce, 2)
			if found.ResultType() != mtasts.PolicyInvalid {
				t.Errorf("TLS-44 it is reported as %q", found.ResultType())
			}
		})
	})
	for name, record := range map[string]string{
		"is gone": "", "has become two": "v=STSv1; id=1\"\n_mta-sts.e.test TXT \"v=STSv1; id=2", "has lost its id": "v=STSv1;", "is another's": "v=spf1 -all",
	} {
		t.Run("TLS-17 the record "+name+", the policy stays", func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				s := w.source()
				s.Find(t.Context(), "e.test")
				w.record(record)
				time.Sleep(6 * day)
				w.want(s.Find(t.Context(), "e.test"), mtasts.Cached, mtasts.Enforce, 1)
				time.Sleep(2 * day)
				w.want(s.Find(t.Context(), "e.test"), mtasts.NoPolicy, mtasts.None, 1)
			})
		})
		t.Run("TLS-12 the record "+name+", and there was no policy", func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.record(record)
				found := w.source().Find(t.Context(), "e.test")
				w.want(found, mtasts.NoPolicy, mtasts.None, 0)
				if found.Err != nil {
					t.Errorf("error is %v", found.Err)
				}
			})
		})
	}
	for _, fault := range []mxtest.Fault{mxtest.ServFail, mxtest.Timeout, mxtest.Bogus, mxtest.Refused} {
		t.Run("TLS-12 no answer about the record: "+fault.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				s := w.source()
				if err := w.Set(mxtest.Rule{Name: "_mta-sts.e.test", Fault: fault}); err != nil {
					t.Fatal(err)
				}
				found := s.Find(t.Context(), "e.test")
				w.want(found, mtasts.NoPolicy, mtasts.None, 0)
				if found.Err != nil {
					t.Errorf("error is %v: nobody knows that there is a policy", found.Err)
				}
				if err := w.Set(mxtest.Rule{Name: "_mta-sts.e.test"}); err != nil {
					t.Fatal(err)
				}
				w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 1)
				if err := w.Set(mxtest.Rule{Name: "_mta-sts.e.test", Fault: fault}); err != nil {
					t.Fatal(err)
				}
				w.want(s.Find(t.Context(), "e.test"), mtasts.Cached, mtasts.Enforce, 1)
			})
		})
	}
	t.Run("TLS-12 the record is behind an alias, and in pieces", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			if err := w.SetZone("mta-sts.e.test CNAME p.test.\np.test A 203.0.113.1\n_mta-sts.e.test CNAME _sts.p.test.\n_sts.p.test TXT \"v=ST\" \"Sv1; i\" \"d=77\""); err != nil {
				t.Fatal(err)
			}
			found := w.source().Find(t.Context(), "e.test")
			w.want(found, mtasts.Fetched, mtasts.Enforce, 1)
			if found.ID != "77" {
				t.Errorf("id is %q", found.ID)
			}
		})
	})
	t.Run("TLS-24 the parent is not asked", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.want(w.source().Find(t.Context(), "m.e.test"), mtasts.NoPolicy, mtasts.None, 0)
			if q := w.Queries(); len(q) != 1 || q[0].Name != "_mta-sts.m.e.test" || q[0].Type != mx.TypeTXT {
				t.Errorf("asked %+v", q)
			}
		})
	})
	t.Run("TLS-12 what is no domain", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			for _, domain := range []string{"[203.0.113.1]", "", "a..b", "x y"} {
				w.want(w.source().Find(t.Context(), domain), mtasts.NoPolicy, mtasts.None, 0)
			}
			if q := w.Queries(); len(q) > 0 {
				t.Errorf("asked %+v", q)
			}
		})
	})
	t.Run("TLS-15 max_age 0 is for one attempt", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.serve("version: STSv1\nmode: enforce\nmx: mx.e.test\nmax_age: 0")
			s := w.source()
			w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 1)
			w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 2)
		})
	})
}

func TestHoldOff(t *testing.T) {
	t.Run("TLS-14 ten attempts in four minutes are one fetch", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			w.respond("404 Not Found", "text/plain", "")
			for range 10 {
				found := s.Find(t.Context(), "e.test")
				w.want(found, mtasts.NoPolicy, mtasts.None, 1)
				if found.ResultType() != mtasts.FetchError {
					t.Errorf("TLS-18, TLS-44 each attempt is reported, this as %q", found.ResultType())
				}
				time.Sleep(24 * time.Second)
			}
			time.Sleep(time.Minute)
			w.serve(goodPolicy)
			w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 2)
		})
	})
	t.Run("TLS-14 a new id is fetched at once", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			w.respond("404 Not Found", "text/plain", "")
			s.Find(t.Context(), "e.test")
			w.record("v=STSv1; id=2")
			w.serve(goodPolicy)
			w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 2)
		})
	})
}

func TestSingleFlight(t *testing.T) {
	slow := func(w *world) {
		w.handle(func(conn net.Conn, _ *http.Request) {
			time.Sleep(10 * time.Second)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"+goodPolicy)
		})
	}
	t.Run("TLS-14 a hundred at a time are one fetch", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			slow(w)
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					if found := s.Find(t.Context(), "e.test"); !found.Enforced() {
						t.Errorf("found %s", found.String())
					}
				})
			}
			wg.Wait()
			if n := w.fetched(); n != 1 {
				t.Errorf("fetched %d times", n)
			}
		})
	})
	t.Run("TLS-14 whoever goes leaves the others their policy", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			slow(w)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			var wg sync.WaitGroup
			wg.Go(func() {
				start := time.Now()
				if found := s.Find(ctx, "e.test"); found.Policy != nil || found.Err != nil || time.Since(start) > 3*time.Second {
					t.Errorf("who went after 3s found after %v %s", time.Since(start), found.String())
				}
			})
			synctest.Wait()
			wg.Go(func() {
				if found := s.Find(t.Context(), "e.test"); !found.Enforced() {
					t.Errorf("who stayed found %s", found.String())
				}
			})
			wg.Wait()
			if n := w.fetched(); n != 2 {
				t.Errorf("fetched %d times, want once for each", n)
			}
		})
	})
	t.Run("TLS-14 a second one that goes does not end the fetch of the first", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			slow(w)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			var wg sync.WaitGroup
			wg.Go(func() {
				if found := s.Find(t.Context(), "e.test"); !found.Enforced() {
					t.Errorf("who stayed found %s", found.String())
				}
			})
			synctest.Wait()
			wg.Go(func() { s.Find(ctx, "e.test") })
			wg.Wait()
			if n := w.fetched(); n != 1 {
				t.Errorf("fetched %d times", n)
			}
		})
	})
}

func TestRecheck(t *testing.T) {
	t.Run("TLS-22 a newer policy with a new id", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			s.Find(t.Context(), "e.test")
			time.Sleep(day)
			w.record("v=STSv1; id=2")
			w.serve("version: STSv1\nmode: none\nmax_age: 60")
			w.want(s.Recheck(t.Context(), "e.test"), mtasts.Fetched, mtasts.None, 2)
		})
	})
	t.Run("TLS-22 a newer policy with the old id", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			s.Find(t.Context(), "e.test")
			time.Sleep(day)
			w.serve("version: STSv1\nmode: testing\nmx: other.test\nmax_age: 86400")
			w.want(s.Find(t.Context(), "e.test"), mtasts.Live, mtasts.Enforce, 1)
			w.want(s.Recheck(t.Context(), "e.test"), mtasts.Fetched, mtasts.Testing, 2)
			w.want(s.Find(t.Context(), "e.test"), mtasts.Live, mtasts.Testing, 2)
			w.want(s.Recheck(t.Context(), "e.test"), mtasts.Fetched, mtasts.Testing, 2)
		})
	})
	t.Run("TLS-22 without a record", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			s.Find(t.Context(), "e.test")
			time.Sleep(day)
			w.record("")
			w.serve("version: STSv1\nmode: none\nmax_age: 86400")
			w.want(s.Find(t.Context(), "e.test"), mtasts.Cached, mtasts.Enforce, 1)
			found := s.Recheck(t.Context(), "e.test")
			w.want(found, mtasts.Fetched, mtasts.None, 2)
			if found.ID != "1" {
				t.Errorf("id is %q, want the one that was known", found.ID)
			}
		})
	})
	t.Run("TLS-22 the host is down: the old policy holds, and one fetch is enough for many messages", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			s := w.source()
			s.Find(t.Context(), "e.test")
			time.Sleep(day)
			w.respond("404 Not Found", "text/plain", "")
			for range 5 {
				w.want(s.Recheck(t.Context(), "e.test"), mtasts.Kept, mtasts.Enforce, 2)
			}
		})
	})
	t.Run("TLS-22 nothing is known and nothing said", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *world) {
			w.record("")
			w.want(w.source().Recheck(t.Context(), "e.test"), mtasts.NoPolicy, mtasts.None, 0)
		})
	})
}

func TestTraceAndText(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.source()
		var told []string
		s.Trace = &mtasts.Trace{Fetched: func(domain string, e mtasts.Entry, err error) {
			told = append(told, fmt.Sprintf("%s %s %s %s", domain, e.ID, e.Policy.Mode, failure(err)))
		}}
		w.serve("\ufeff" + goodPolicy)
		found := s.Find(t.Context(), "e.test")
		for _, want := range []string{"MTA-STS of e.test: fetched, in DNS: id 1\n", "mode enforce, id 1, fetched 2000-01-01T00:00:00Z, in force until 2000-01-08T00:00:00Z\n", "hosts mx.e.test\n", "note: it begins with a byte order mark\n"} {
			if !strings.Contains(found.String(), want) {
				t.Errorf("the text lacks %q:\n%s", want, found.String())
			}
		}
		w.record("v=STSv1; id=2")
		w.respond("404 Not Found", "text/plain", "")
		if found = s.Find(t.Context(), "e.test"); !strings.Contains(found.String(), ": kept, in DNS: id 2\n") || !strings.Contains(found.String(), "  the policy host answers 404\n") {
			t.Errorf("the text is:\n%s", found.String())
		}
		time.Sleep(8 * day)
		s.Find(t.Context(), "e.test")
		want := []string{"e.test 1 enforce <nil>", "e.test 1 enforce sts-policy-fetch-error http-status-404", "e.test  none sts-policy-fetch-error http-status-404"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

// brokenStore is a Store that does not work.
type brokenStore struct{ mtasts.Memory }

var errBroken = errors.New("the disk is gone")

func (*brokenStore) Load(context.Context, string) (mtasts.Entry, error) {
	return mtasts.Entry{}, errBroken
}
func (*brokenStore) Save(context.Context, mtasts.Entry) error { return errBroken }
func (*brokenStore) List(context.Context, string, int) ([]mtasts.Entry, error) {
	return nil, errBroken
}

func TestStoreThatDoesNotWork(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.source()
		s.Store = &brokenStore{}
		told := 0
		s.Trace = &mtasts.Trace{StoreFailed: func(_ string, err error) {
			if told++; !errors.Is(err, errBroken) {
				t.Errorf("told of %v", err)
			}
		}}
		w.want(s.Find(t.Context(), "e.test"), mtasts.Fetched, mtasts.Enforce, 1)
		w.want(s.Find(t.Context(), "e.test"), mtasts.Live, mtasts.Enforce, 1)
		if told == 0 {
			t.Error("nobody was told")
		}
		before := told
		if next := s.Refresh(t.Context()); told == before || time.Until(next) <= 0 {
			t.Errorf("told %d times, the next round is in %v", told-before, time.Until(next))
		}
	})
}

func TestValidate(t *testing.T) {
	s := &mtasts.Source{}
	if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "mtasts.Source.Resolver") {
		t.Errorf("error is %v", err)
	}
	if found := s.Find(t.Context(), "e.test"); found.Policy != nil || !strings.Contains(found.Record, "Resolver") {
		t.Errorf("found %s", found.String())
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("it runs")
	}
	s = &mtasts.Source{Resolver: &mxtest.DNS{}, Store: &mtasts.Dir{}}
	if err := s.Validate(); err == nil || !strings.Contains(err.Error(), "mtasts.Dir.Path") {
		t.Errorf("of a store in no directory the error is %v", err)
	}
}
