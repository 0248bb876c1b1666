package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
)

// RunPolicies makes a subtest of each rule of mtasts.Store. open makes an empty store.
func RunPolicies(t *testing.T, open func(t *testing.T) mtasts.Store) {
	t.Helper()
	run(t, policyRules(), open)
}

// Policies returns which rules of mtasts.Store are broken by the stores that open makes,
// each of them empty.
func Policies(ctx context.Context, open func() (mtasts.Store, error)) error {
	return check(ctx, policyRules(), open)
}

func policyRules() []rule[mtasts.Store] {
	return []rule[mtasts.Store]{
		{"what is not there is no error", policiesMissing},
		{"Load returns what was saved last", policiesLoad},
		{"List returns pages in the order of the domains", policiesList},
		{"Delete removes one domain", policiesDelete},
		{"many may use it at once", policiesTogether},
	}
}

// policy is an entry with something in every field.
func policy(domain, id string) mtasts.Entry {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return mtasts.Entry{Domain: domain, ID: id, Fetched: at, Used: at.Add(time.Hour), Policy: mtasts.Policy{
		Mode: mtasts.Testing, MX: []string{"*.e.test"}, MaxAge: 7 * 24 * time.Hour,
		Lines: []string{"version: STSv1"}, Notes: []string{"it has empty lines"},
	}}
}

// longDomain is as long as a domain can be, about.
func longDomain() string { return strings.Repeat(strings.Repeat("a", 60)+".", 4) + "test" }

// policyDomains are domains in their order.
func policyDomains() []string {
	return []string{"a-b.test", "a.test", longDomain(), "b.test", "xn--mller-kva.test"}
}

// fill saves two policies of each domain, one after the other.
func fill(ctx context.Context, s mtasts.Store) error {
	for _, id := range []string{"1", "2"} {
		for _, domain := range policyDomains() {
			if err := s.Save(ctx, policy(domain, id)); err != nil {
				return fmt.Errorf("Save: %w", err)
			}
		}
	}
	return nil
}

// has wants an entry, or with an empty id, none.
func has(ctx context.Context, s mtasts.Store, domain, id string) error {
	var want mtasts.Entry
	if id != "" {
		want = policy(domain, id)
	}
	if e, err := s.Load(ctx, domain); err != nil || !reflect.DeepEqual(e, want) {
		return fmt.Errorf("Load(%q) = %+v, %w, want %+v", domain, e, err, want)
	}
	return nil
}

func policiesMissing(ctx context.Context, s mtasts.Store) error {
	problem := has(ctx, s, "a.test", "")
	if all, err := s.List(ctx, "", 10); err != nil || len(all) > 0 {
		problem = errors.Join(problem, fmt.Errorf("an empty store lists %v, %w", all, err))
	}
	if err := s.Delete(ctx, "a.test"); err != nil {
		problem = errors.Join(problem, fmt.Errorf("deleting what is not there: %w", err))
	}
	return problem
}

func policiesLoad(ctx context.Context, s mtasts.Store) error {
	problem := has(ctx, s, "a.test", "") // so that a store which remembers that is found out
	problem = errors.Join(problem, fill(ctx, s))
	for _, domain := range policyDomains() {
		problem = errors.Join(problem, has(ctx, s, domain, "2"))
	}
	return errors.Join(problem, has(ctx, s, "c.test", ""), has(ctx, s, "a", ""))
}

func policiesList(ctx context.Context, s mtasts.Store) error {
	if err := fill(ctx, s); err != nil {
		return err
	}
	for limit := 1; limit <= 6; limit++ {
		var listed []string
		for after := ""; ; {
			page, err := s.List(ctx, after, limit)
			if err != nil {
				return fmt.Errorf("List: %w", err)
			}
			for _, e := range page {
				if listed = append(listed, e.Domain); !reflect.DeepEqual(e, policy(e.Domain, "2")) {
					return fmt.Errorf("it lists %+v", e)
				}
			}
			if len(page) > limit || len(listed) > len(policyDomains()) {
				return fmt.Errorf("it lists %q in pages of %d", listed, limit)
			}
			if len(page) < limit {
				break
			}
			after = page[limit-1].Domain
		}
		if !slices.Equal(listed, policyDomains()) {
			return fmt.Errorf("it lists %q in pages of %d, want %q", listed, limit, policyDomains())
		}
	}
	return nil
}

func policiesDelete(ctx context.Context, s mtasts.Store) error {
	problem := fill(ctx, s)
	for _, domain := range []string{"a.test", longDomain()} {
		if err := s.Delete(ctx, domain); err != nil {
			problem = errors.Join(problem, fmt.Errorf("Delete: %w", err))
		}
		problem = errors.Join(problem, has(ctx, s, domain, ""))
	}
	for _, domain := range []string{"a-b.test", "b.test"} {
		problem = errors.Join(problem, has(ctx, s, domain, "2"))
	}
	if all, err := s.List(ctx, "", 10); err != nil || len(all) != 3 {
		problem = errors.Join(problem, fmt.Errorf("then it lists %d, %w, want 3", len(all), err))
	}
	if err := s.Save(ctx, policy("a.test", "3")); err != nil {
		problem = errors.Join(problem, fmt.Errorf("Save: %w", err))
	}
	return errors.Join(problem, has(ctx, s, "a.test", "3"))
}

func policiesTogether(ctx context.Context, s mtasts.Store) error {
	var all errgroup.Group
	for i := range 20 {
		all.Go(func() error {
			if err := s.Save(ctx, policy("b.test", fmt.Sprint(i))); err != nil {
				return fmt.Errorf("Save: %w", err)
			}
			if e, err := s.Load(ctx, "b.test"); err != nil || e.Domain != "b.test" {
				return fmt.Errorf("while others save, Load = %+v, %w", e, err)
			}
			return nil
		})
	}
	return all.Wait()
}
