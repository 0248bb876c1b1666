package mx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxAliases bounds a chain of CNAMEs, inside one response and over all of them
// (RFC 1034 section 5.2.2). Services for content and traffic management make chains
// of ten. Resolvers follow 11 to 16, and what they have answered must not fail here.
const maxAliases = 16

// maxTTL is the greatest TTL that is one: with the sign bit set it counts as
// zero (RFC 2181 section 8).
const maxTTL = (1<<31 - 1) * time.Second

// Follow asks r, and asks again at the target as long as the answer is Aliased, up to
// sixteen aliases in all. The answer covers the whole chain: it has all Aliases and the
// least TTL, and is Secure only if every step is. Its status is never Aliased or
// StatusNone. The error is always a *ResolveError, of kind AliasLoop if the chain is too
// long or leads back to itself (RFC 1034 section 5.2.2).
func Follow(ctx context.Context, r Resolver, name string, t Type) (Answer, error) {
	a, err := ask(ctx, r, name, t)
	if err != nil || a.Status != Aliased {
		return a, err
	}
	return goOn(a, name, t, func(target string) (Answer, error) { return ask(ctx, r, target, t) })
}

// goOn follows an Aliased answer by asking again at each target.
func goOn(a Answer, name string, t Type, again func(target string) (Answer, error)) (Answer, error) {
	for a.Status == Aliased {
		next, err := again(a.Name)
		if err != nil {
			return Answer{}, err
		}
		a = join(a, next)
		if err := checkChain(a, name, t); err != nil {
			return Answer{}, err
		}
	}
	return a, nil
}

// join is the answer to the first question, given the answer at its target.
func join(first, next Answer) Answer {
	next.Aliases = slices.Concat(first.Aliases, next.Aliases)
	next.TTL = min(first.TTL, next.TTL)
	next.Secure = first.Secure && next.Secure
	return next
}

// ask asks once, and checks that the answer keeps the promises of Resolver. A Resolver
// that panics has not answered; it is called on goroutines on which a panic would end
// the program.
func ask(ctx context.Context, r Resolver, name string, t Type) (a Answer, err error) {
	defer func() {
		if v := recover(); v != nil {
			a, err = checked(ctx, Answer{}, fmt.Errorf("the resolver panicked: %v", v), name, t)
		}
	}()
	a, err = r.Resolve(ctx, name, t)
	return checked(ctx, a, err, name, t)
}

// checked makes every error a *ResolveError, and an error of every answer that
// must not be taken for a fact.
func checked(ctx context.Context, a Answer, err error, name string, t Type) (Answer, error) {
	if err != nil {
		return Answer{}, resolveError(ctx, err, name, t)
	}
	if a.Name == "" {
		a.Name = name
	}
	a.TTL = soundTTL(a.TTL)
	if err := checkStatus(a, name, t); err != nil {
		return Answer{}, err
	}
	if err := checkChain(a, name, t); err != nil {
		return Answer{}, err
	}
	return a, nil
}

var (
	errNoStatus  = errors.New("the resolver returned an answer without a status")
	errNoRecords = errors.New("the resolver returned success without a record")
	errNoAlias   = errors.New("the resolver returned an alias without a target")
)

func checkStatus(a Answer, name string, t Type) error {
	var cause error
	switch a.Status {
	case Success:
		if empty(a, t) {
			cause = errNoRecords
		}
	case Aliased:
		if a.Name == name {
			cause = errNoAlias
		}
	case NoData, NXDomain, NotFound:
	default:
		cause = errNoStatus
	}
	if cause == nil {
		return nil
	}
	return &ResolveError{Name: name, Type: t, Kind: Malformed, Err: cause}
}

// empty reports whether a has no record of type t.
func empty(a Answer, t Type) bool {
	switch t {
	case TypeA, TypeAAAA:
		return len(a.Addrs) == 0
	case TypeMX:
		return len(a.MX) == 0
	case TypeNS:
		return len(a.NS) == 0
	case TypeTXT:
		return len(a.TXT) == 0
	case TypeTLSA:
		// A record that cannot be read is a record nevertheless, but unusable.
		return len(a.TLSA)+a.Unreadable == 0
	case TypeSRV:
		return len(a.SRV) == 0
	default:
		return false
	}
}

// checkChain refuses a chain that is too long or comes back to where it was.
func checkChain(a Answer, name string, t Type) error {
	if len(a.Aliases) == 0 {
		return nil
	}
	var cause error
	if len(a.Aliases) > maxAliases {
		cause = fmt.Errorf("more than %d aliases", maxAliases)
	}
	for i, alias := range a.Aliases {
		if cause == nil && (alias.To == name || slices.ContainsFunc(a.Aliases[:i], func(b Alias) bool { return b.To == alias.To })) {
			cause = fmt.Errorf("%s leads back to %s", printable(alias.From), printable(alias.To))
		}
	}
	if cause == nil {
		return nil
	}
	return &ResolveError{Name: name, Type: t, Kind: AliasLoop, Err: cause}
}

// resolveError is err as a *ResolveError.
func resolveError(ctx context.Context, err error, name string, t Type) error {
	if re, ok := errors.AsType[*ResolveError](err); ok {
		return re
	}
	kind := NoAnswer
	if ended(ctx) != nil {
		kind = Canceled
	}
	return &ResolveError{Name: name, Type: t, Kind: kind, Err: err}
}

// ended returns why ctx has ended, or nil if it has not. The deadline of a connection
// can pass shortly before that of its context.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// soundTTL is a TTL as RFC 2181 section 8 reads it.
func soundTTL(ttl time.Duration) time.Duration {
	if ttl < 0 || ttl > maxTTL {
		return 0
	}
	return ttl
}
