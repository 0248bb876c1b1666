package mx

import (
	"context"
	"errors"
)

// prober is a Resolver that can ask past what it remembers.
type prober interface {
	probe(ctx context.Context) error
}

// Probe says whether DNS works at all: it asks for the root's name servers, past any
// Cache. If the error is nil it does: when other questions fail, it is the domain's
// servers that do. The error is a *ResolveError. Of one that is Timeout, Unreachable
// or ServFail, nobody on the way to the root answers: the trouble is this machine's,
// its network's or its resolvers'. A resolver that refuses to say, or says that there
// is no such record, works.
func Probe(ctx context.Context, r Resolver) error {
	if p, ok := r.(prober); ok {
		return p.probe(ctx)
	}
	_, err := ask(ctx, r, "", TypeNS)
	return trouble(err)
}

// trouble is err if it says that nobody answers.
func trouble(err error) error {
	if re, ok := errors.AsType[*ResolveError](err); ok {
		switch re.Kind {
		case Refused, Lame, Malformed, Truncated, Bogus, AliasLoop:
			return nil
		}
	}
	return err
}

// probe asks the Resolver, not the memory.
func (c *Cache) probe(ctx context.Context) error { return Probe(ctx, c.Resolver) }
