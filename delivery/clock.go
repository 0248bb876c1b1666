package delivery

import (
	"sync"
	"time"
)

// clock tells a queue the time: the wall clock's when it was first asked, and
// from there on by the monotonic clock, so that a wall clock which is set
// neither makes all mail due at once nor expires it (QUE-9). Its zero value is
// ready.
type clock struct {
	once  sync.Once
	start time.Time
}

func (c *clock) now() time.Time {
	c.once.Do(func() { c.start = time.Now() })
	return c.start.Add(time.Since(c.start))
}
