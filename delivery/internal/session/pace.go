package session

import (
	"context"
	"time"
)

// Pace waits until a message may be offered to a host by the rates of the groups in
// which connections to it count. A nil Gate has no groups.
func (g *Gate) Pace(ctx context.Context, site, host string) error {
	if g == nil {
		return nil
	}
	limits := g.limits()
	if limits.Rules == nil {
		return nil
	}
	wait := g.reserve(limits.at(site, host).Groups)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

func (g *Gate) reserve(groups []GroupLimits) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.groups.reserve(groups, time.Now())
}
