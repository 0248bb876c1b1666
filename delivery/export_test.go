package delivery

import (
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// SetWall gives an agent a wall clock of the test's. Call it before the first use.
func (a *Agent) SetWall(now func() time.Time) { a.clock.Wall = now }

// FailSystemResolver makes a Sender find that this system has no resolvers, because of err.
func (s *Sender) FailSystemResolver(err error) {
	s.system = func() (*mx.Client, error) { return nil, err }
}
