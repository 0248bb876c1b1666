package mx

import (
	"context"
	"errors"
)

// prober is a Resolver that can ask without using what it remembers.
type prober interface {
	probe(ctx context.Context) error
}

// Probe finds out whether DNS works at all. It asks for the name servers of the root,
// without any Cache. If it returns nil, DNS works, and if other questions fail, the cause
// is at the servers of the domain. Otherwise it returns a *ResolveError of kind Timeout,
// Unreachable or ServFail: the cause is at this machine, its network or its resolvers. A
// resolver that refuses to answer, or answers that there is no such record, works.
func Probe(ctx context.Context, r Resolver) error {
	if p, ok := r.(prober); ok {
		return p.probe(ctx)
	}
	_, err := ask(ctx, r, "", TypeNS)
	return trouble(err)
}

// trouble returns err if it says that no server answers.
func trouble(err error) error {
	if re, ok := errors.AsType[*ResolveError](err); ok {
		switch re.Kind {
		case QueryRefused, Lame, Malformed, Truncated, Bogus, AliasLoop:
			return nil
		}
	}
	return err
}

// probe asks the Resolver, not the memory.
func (c *Cache) probe(ctx context.Context) error { return Probe(ctx, c.Resolver) }
