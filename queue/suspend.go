package queue

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

// Suspender is a queue that remembers what its claimers are told to leave alone (rule
// A10).
type Suspender interface {
	// Suspend adds suspensions; one of the same subject is replaced. Since is now,
	// whatever the Terms say. Errors: a *MessageError about a subject that can
	// name no mail, such as a domain that is not in canonical form; ErrFull, beyond
	// MaxSuspensions or if there is no room; ErrClosed. None is added then.
	Suspend(ctx context.Context, now time.Time, list ...Suspension) error

	// Resume ends the suspensions of these subjects and returns how many there were.
	// Errors: ErrClosed.
	Resume(ctx context.Context, now time.Time, list ...Subject) (int, error)

	// Suspensions returns those that are not over, ordered by kind and name. Errors:
	// ErrClosed.
	Suspensions(ctx context.Context, now time.Time) ([]Suspension, error)
}

// SubjectKind is what a suspension is about.
type SubjectKind uint8

// The kinds of subject.
const (
	// OfDestination: the mail for one domain, in canonical form.
	OfDestination SubjectKind = iota
	// OfSite: the mail that goes to a site, which only those know who ask for routes.
	OfSite
	// OfTenant: the mail of one tenant.
	OfTenant
)

var subjectNames = [...]string{"destination", "site", "tenant"}

// String is the kind in one word: destination, site, tenant.
func (k SubjectKind) String() string { return enum.String("queue.SubjectKind", subjectNames[:], k) }

// MarshalText is String, for JSON and the like. It fails for a value that has no name.
func (k SubjectKind) MarshalText() ([]byte, error) {
	return enum.Marshal("queue.SubjectKind", subjectNames[:], k)
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (k *SubjectKind) UnmarshalText(text []byte) error {
	return enum.Unmarshal("queue.SubjectKind", subjectNames[:], k, text)
}

// Subject is what is suspended.
type Subject struct {
	Kind SubjectKind
	Name string
}

// check refuses what could keep no mail back: a domain that is none or not in
// canonical form, a site without a name. No tenant is one, too.
func (s Subject) check() error {
	if s.Kind > OfTenant {
		return fieldError("Kind", "5.5.4", errUnknown)
	}
	if len(s.Name) > MaxSubject {
		return tooLong("Name", MaxSubject)
	}
	if s.Kind == OfSite && s.Name == "" {
		return fieldError("Name", "5.5.4", errNoName)
	}
	if s.Kind == OfDestination {
		canonical, err := ParseDestination(s.Name)
		if err != nil {
			return err
		}
		if canonical != s.Name {
			return fieldError("Name", "5.1.2", errCanonical)
		}
	}
	return nil
}

// Suspension is something that is to be left alone.
type Suspension struct {
	Subject
	Terms
}

// Bounds of what is suspended.
const (
	MaxSuspensions = 10_000
	MaxSubject     = 8192 // bytes of a subject's name
)

// Suspend has q remember suspensions. It answers errors.ErrUnsupported for a queue
// that is no Suspender.
func Suspend(ctx context.Context, q Queue, now time.Time, list ...Suspension) error {
	if s, ok := As[Suspender](q); ok {
		return s.Suspend(ctx, now, list...)
	}
	return unsupported("suspend")
}

// Resume ends suspensions of q and returns how many there were. It answers
// errors.ErrUnsupported for a queue that is no Suspender.
func Resume(ctx context.Context, q Queue, now time.Time, list ...Subject) (int, error) {
	if s, ok := As[Suspender](q); ok {
		return s.Resume(ctx, now, list...)
	}
	return 0, unsupported("resume")
}

// Suspensions returns what is suspended. It answers errors.ErrUnsupported for a
// queue that is no Suspender.
func Suspensions(ctx context.Context, q Queue, now time.Time) ([]Suspension, error) {
	if s, ok := As[Suspender](q); ok {
		return s.Suspensions(ctx, now)
	}
	return nil, unsupported("suspensions")
}

// SuspensionSet is what a Suspender remembers, for those that keep it in memory. It
// is a value: its methods return another and leave it as it is.
type SuspensionSet []Suspension

// With returns the set with some more, or the error of one that a queue does not
// take.
func (s SuspensionSet) With(now time.Time, list ...Suspension) (SuspensionSet, error) {
	after := s.without(now, func(o Subject) bool {
		return slices.ContainsFunc(list, func(n Suspension) bool { return n.Subject == o })
	})
	for i, one := range list {
		if err := one.Subject.check(); err != nil {
			return nil, err
		}
		switch {
		case slices.ContainsFunc(list[i+1:], func(n Suspension) bool { return n.Subject == one.Subject }):
			continue // the last counts
		}
		one.Since = now
		one.Terms = one.Bounded()
		if !one.Over(now) {
			after = append(after, one)
		}
	}
	if len(after) > MaxSuspensions {
		return nil, ErrFull
	}
	slices.SortFunc(after, func(a, b Suspension) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return after, nil
}

// Without returns the set without some subjects, and how many of them it had.
func (s SuspensionSet) Without(now time.Time, list ...Subject) (after SuspensionSet, had int) {
	after = s.without(now, func(o Subject) bool {
		if !slices.Contains(list, o) {
			return false
		}
		had++
		return true
	})
	return after, had
}

// At returns the suspensions that are not over. It may be the set itself, which must not
// be changed.
func (s SuspensionSet) At(now time.Time) SuspensionSet {
	if !slices.ContainsFunc(s, func(o Suspension) bool { return o.Over(now) }) {
		return s
	}
	return s.without(now, func(Subject) bool { return false })
}

func (s SuspensionSet) without(now time.Time, leave func(Subject) bool) (after SuspensionSet) {
	for _, one := range s {
		if !one.Over(now) && !leave(one.Subject) {
			after = append(after, one)
		}
	}
	return after
}
