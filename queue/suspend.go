package queue

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

// Suspender is a queue that stores suspensions for all claimers (rule A10).
type Suspender interface {
	// Suspend adds suspensions. Each replaces an earlier one of the same subject. Since is
	// set to now. If there is an error, none is added. Errors: a *MessageError if a
	// subject cannot name any mail, such as a domain that is not in canonical form;
	// ErrFull if there would be more than MaxSuspensions or the device is full; ErrClosed.
	Suspend(ctx context.Context, now time.Time, list ...Suspension) error

	// Resume ends the suspensions of these subjects and returns how many there were.
	// Errors: ErrClosed.
	Resume(ctx context.Context, now time.Time, list ...Subject) (int, error)

	// Suspensions returns the suspensions that are not over, ordered by kind and name.
	// Errors: ErrClosed.
	Suspensions(ctx context.Context, now time.Time) ([]Suspension, error)
}

// SubjectKind is the kind of a suspension's subject.
type SubjectKind uint8

// The kinds of subject.
const (
	// OfDestination: the mail for one domain, in canonical form.
	OfDestination SubjectKind = iota
	// OfSite: the mail for one site. Only a claimer that looks up routes knows which mail
	// that is.
	OfSite
	// OfTenant: the mail of one tenant.
	OfTenant
)

var subjectNames = [...]string{"destination", "site", "tenant"}

// String returns destination, site or tenant.
func (k SubjectKind) String() string { return enum.String("queue.SubjectKind", subjectNames[:], k) }

// MarshalText returns the text of String. It fails for a value without a name.
func (k SubjectKind) MarshalText() ([]byte, error) {
	return enum.Marshal("queue.SubjectKind", subjectNames[:], k)
}

// UnmarshalText reads the form that MarshalText writes, and no other.
func (k *SubjectKind) UnmarshalText(text []byte) error {
	return enum.Unmarshal("queue.SubjectKind", subjectNames[:], k, text)
}

// Subject names the mail that is suspended.
type Subject struct {
	Kind SubjectKind
	Name string
}

// check refuses a subject that could not keep any mail back: an invalid domain, a domain
// that is not in canonical form, or a site without a name. The empty tenant is valid.
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

// Suspension says which mail the claimers must leave alone, why, and until when.
type Suspension struct {
	Subject
	Terms
}

// Bounds of suspensions.
const (
	MaxSuspensions = 10_000
	MaxSubject     = 8192 // bytes of a subject's name
)

// Suspend adds suspensions to q. It returns errors.ErrUnsupported if q is not a Suspender.
func Suspend(ctx context.Context, q Queue, now time.Time, list ...Suspension) error {
	if s, ok := As[Suspender](q); ok {
		return s.Suspend(ctx, now, list...)
	}
	return unsupported("suspend")
}

// Resume ends the suspensions of these subjects in q and returns how many there were. It
// returns errors.ErrUnsupported if q is not a Suspender.
func Resume(ctx context.Context, q Queue, now time.Time, list ...Subject) (int, error) {
	if s, ok := As[Suspender](q); ok {
		return s.Resume(ctx, now, list...)
	}
	return 0, unsupported("resume")
}

// Suspensions returns the suspensions of q that are not over. It returns
// errors.ErrUnsupported if q is not a Suspender.
func Suspensions(ctx context.Context, q Queue, now time.Time) ([]Suspension, error) {
	if s, ok := As[Suspender](q); ok {
		return s.Suspensions(ctx, now)
	}
	return nil, unsupported("suspensions")
}

// SuspensionSet is a set of suspensions, for a Suspender that keeps them in memory. Its
// methods return a new set and do not change the set itself.
type SuspensionSet []Suspension

// With returns the set with list added. It returns the errors of Suspender.Suspend.
func (s SuspensionSet) With(now time.Time, list ...Suspension) (SuspensionSet, error) {
	last := make(map[Subject]int, len(list))
	for i := range list {
		last[list[i].Subject] = i
	}
	after := s.without(now, func(o Subject) bool {
		_, replaced := last[o]
		return replaced
	})
	for i, one := range list {
		if err := one.Subject.check(); err != nil {
			return nil, err
		}
		if last[one.Subject] != i {
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

// Without returns the set without these subjects, and how many of them it had.
func (s SuspensionSet) Without(now time.Time, list ...Subject) (after SuspensionSet, had int) {
	listed := make(map[Subject]bool, len(list))
	for _, o := range list {
		listed[o] = true
	}
	after = s.without(now, func(o Subject) bool {
		if !listed[o] {
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
