package delivery

import "time"

// SetWall gives an agent a wall clock of the test's. Call it before the first use.
func (a *Agent) SetWall(now func() time.Time) { a.clock.Wall = now }
