package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
)

// RunReports makes a subtest of each rule of tlsrpt.Store. open makes an empty store.
func RunReports(t *testing.T, open func(t *testing.T) tlsrpt.Store) {
	t.Helper()
	run(t, reportRules(), open)
}

// Reports returns which rules of tlsrpt.Store are broken by the stores that open makes,
// each of them empty.
func Reports(ctx context.Context, open func() (tlsrpt.Store, error)) error {
	return check(ctx, reportRules(), open)
}

func reportRules() []rule[tlsrpt.Store] {
	return []rule[tlsrpt.Store]{
		{"Save takes the place of what that Counts saved before for that day", reportsSave},
		{"Load returns what was saved", reportsLoad},
		{"Update stores the next revision alone", reportsUpdate},
		{"Update keeps days and domains apart", reportsApart},
		{"of several who try the same revision one succeeds", reportsRace},
		{"Forget removes days before one", reportsForget},
		{"nothing is shared with the caller", reportsShared},
	}
}

const today = tlsrpt.Day(20000)

func tallies(domain string, n uint64) []tlsrpt.Tally {
	return []tlsrpt.Tally{{
		Domain: domain, Successes: n, Failures: 1,
		Policy: tlsrpt.Policy{Type: tlsrpt.STS, Domain: domain, Strings: []string{"version: STSv1", "mode: testing"}, MX: []string{"*." + domain}},
		Details: []tlsrpt.Detail{{Sessions: 1, Failure: tlsrpt.Failure{
			Result: tlsrpt.CertificateExpired, Reason: "expired \"yesterday\"", Info: "https://a.test/", Host: "mx." + domain, Helo: "mail." + domain,
			SendingIP: netip.MustParseAddr("192.0.2.1"), ReceivingIP: netip.MustParseAddr("2001:db8::1"),
		}}},
	}}
}

// loaded wants domains with their numbers, such as "e.test 2", in their order.
func loaded(ctx context.Context, s tlsrpt.Store, day tlsrpt.Day, want ...string) error {
	all, err := s.Load(ctx, day)
	var got []string
	for _, one := range all {
		got = append(got, fmt.Sprintf("%s %d", one.Domain, one.Successes))
	}
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		return fmt.Errorf("Load(%v) has %q, %w, want %q", day, got, err, want)
	}
	return nil
}

// updated wants an answer of Update.
func updated(ctx context.Context, s tlsrpt.Store, d, want tlsrpt.Delivery, stored bool) error {
	now, did, err := s.Update(ctx, d)
	if err != nil || did != stored || !reflect.DeepEqual(now, want) {
		return fmt.Errorf("Update(%+v) = %+v, %v, %w, want %+v, %v", d, now, did, err, want, stored)
	}
	return nil
}

func reportsSave(ctx context.Context, s tlsrpt.Store) error {
	return errors.Join(
		s.Save(ctx, today, "a", tallies("e.test", 1)),
		s.Save(ctx, today, "b", tallies("e.test", 2)),
		s.Save(ctx, today+1, "a", tallies("e.test", 3)),
		s.Save(ctx, today, "a", tallies("f.test", 4)),
		loaded(ctx, s, today, "e.test 2", "f.test 4"),
		loaded(ctx, s, today+1, "e.test 3"),
		loaded(ctx, s, today-1),
	)
}

func reportsLoad(ctx context.Context, s tlsrpt.Store) error {
	problem := errors.Join(loaded(ctx, s, today), s.Save(ctx, today, "a", tallies("e.test", 1)))
	got, err := s.Load(ctx, today)
	if err != nil || !reflect.DeepEqual(got, tallies("e.test", 1)) {
		problem = errors.Join(problem, fmt.Errorf("Load = %+v, %w, want what was saved", got, err))
	}
	return problem
}

// delivery is the first revision of one, with something in every field.
func delivery() tlsrpt.Delivery {
	return tlsrpt.Delivery{
		Day: today, Domain: "e.test", Revision: 1, Until: time.Unix(1e9, 0).UTC(), First: time.Unix(1e9-1, 0).UTC(), Attempts: 1,
		Taken: []string{"https://r.test/"}, Refused: []string{"mailto:a@e.test"}, Problems: []string{"x"},
	}
}

func reportsUpdate(ctx context.Context, s tlsrpt.Store) error {
	nothing, first := tlsrpt.Delivery{Day: today, Domain: "e.test"}, delivery()
	second := first
	second.Revision, second.Done = 2, true
	at := func(revision int) tlsrpt.Delivery {
		return tlsrpt.Delivery{Day: today, Domain: "e.test", Revision: revision}
	}
	return errors.Join(
		updated(ctx, s, at(2), nothing, false),
		updated(ctx, s, first, first, true),
		updated(ctx, s, at(0), first, false),
		updated(ctx, s, at(1), first, false),
		updated(ctx, s, at(3), first, false),
		updated(ctx, s, second, second, true),
		updated(ctx, s, at(2), second, false),
	)
}

func reportsApart(ctx context.Context, s tlsrpt.Store) error {
	_, _, problem := s.Update(ctx, delivery())
	for _, other := range []tlsrpt.Delivery{
		{Day: today + 1, Domain: "e.test", Revision: 1}, {Day: today, Domain: "f.test", Revision: 1}, {Day: today, Domain: "e.test.1", Revision: 1},
		{Day: today, Domain: strings.Repeat("long.", 50) + "test", Revision: 1}, {Day: today, Domain: "../" + today.String(), Revision: 1},
		{Day: today, Domain: "", Revision: 1},
	} {
		problem = errors.Join(problem, updated(ctx, s, other, other, true), updated(ctx, s, other, other, false))
	}
	return errors.Join(problem, updated(ctx, s, delivery(), delivery(), false))
}

func reportsRace(ctx context.Context, s tlsrpt.Store) error {
	for revision := 1; revision <= 20; revision++ {
		var (
			all      errgroup.Group
			won, who atomic.Int32
		)
		for i := range 8 {
			all.Go(func() error {
				now, stored, err := s.Update(ctx, tlsrpt.Delivery{Day: today, Domain: "e.test", Revision: revision, Attempts: i})
				switch {
				case err != nil:
					return err
				case stored:
					won.Add(1)
					who.Store(int32(i))
				case now.Revision != revision:
					return fmt.Errorf("who was late has revision %d of %d", now.Revision, revision)
				}
				return nil
			})
		}
		if err := all.Wait(); err != nil {
			return err
		}
		if n := won.Load(); n != 1 {
			return fmt.Errorf("%d have stored revision %d", n, revision)
		}
		now, _, err := s.Update(ctx, tlsrpt.Delivery{Day: today, Domain: "e.test", Revision: revision})
		if err != nil || now.Attempts != int(who.Load()) {
			return fmt.Errorf("stored is %+v, %w, of %d", now, err, who.Load())
		}
	}
	return nil
}

func reportsForget(ctx context.Context, s tlsrpt.Store) error {
	var problem error
	for d := today; d < today+3; d++ {
		first := tlsrpt.Delivery{Day: d, Domain: "e.test", Revision: 1}
		problem = errors.Join(problem, s.Save(ctx, d, "a", tallies("e.test", 1)), updated(ctx, s, first, first, true))
	}
	problem = errors.Join(problem, s.Forget(ctx, today+2), loaded(ctx, s, today), loaded(ctx, s, today+1), loaded(ctx, s, today+2, "e.test 1"))
	for d := today; d < today+3; d++ {
		first := tlsrpt.Delivery{Day: d, Domain: "e.test", Revision: 1}
		problem = errors.Join(problem, updated(ctx, s, first, first, d != today+2))
	}
	return problem
}

func reportsShared(ctx context.Context, s tlsrpt.Store) error {
	d := tlsrpt.Delivery{Day: today, Domain: "e.test", Revision: 1, Taken: []string{"a"}}
	_, _, problem := s.Update(ctx, d)
	d.Taken[0] = "b"
	d.Taken = nil
	want := tlsrpt.Delivery{Day: today, Domain: "e.test", Revision: 1, Taken: []string{"a"}}
	return errors.Join(problem, updated(ctx, s, d, want, false))
}
