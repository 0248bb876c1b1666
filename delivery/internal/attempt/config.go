package attempt

import (
	"github.com/nexthop-mail/nexthop/delivery/internal/session"
	"github.com/nexthop-mail/nexthop/internal/content"
	"github.com/nexthop-mail/nexthop/mx"
)

// Config is what the attempts of one sender have in common.
type Config struct {
	// Sessions are where sessions come from.
	Sessions *session.Pool

	// Content says how to treat content that is not canonical.
	Content content.Policy

	// Convert says which 8-bit content is encoded for hosts that take 7 bits only.
	Convert content.Conversion

	// Judge replaces the verdict table; nil is the function of that name.
	Judge func(stage Stage, code int, enhanced string) Verdict

	// Unreachable is called for a host that gave no session. It may be nil.
	Unreachable func(*mx.Host)

	// MaxConnections bounds the connections tried in one walk, 32 by default and 2
	// at least, and MaxSessions the sessions that reach MAIL, 5 by default.
	MaxConnections int
	MaxSessions    int
}

const (
	defaultMaxConnections = 32
	defaultMaxSessions    = 5
)

func (c *Config) maxConnections() int {
	if c.MaxConnections <= 0 {
		return defaultMaxConnections
	}
	return max(c.MaxConnections, 2)
}

func (c *Config) maxSessions() int {
	if c.MaxSessions <= 0 {
		return defaultMaxSessions
	}
	return c.MaxSessions
}
