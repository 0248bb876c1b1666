package clock

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// smallStep is by how much the wall clock may be off the monotonic one between
	// two readings without having jumped, or a thousandth of the time between them:
	// clocks of machines differ by no more than that.
	smallStep  = time.Minute
	driftShare = 1000

	// maxJumps is how many jumps are remembered.
	maxJumps = 64
)

// Clock is the time. Its zero value is ready, and safe for concurrent use.
type Clock struct {
	// Wall reads the wall clock; nil is time.Now. Set it before the first use.
	Wall func() time.Time

	mu    sync.Mutex
	begun bool
	mono  time.Time     // of the last reading, with its monotonic part
	wall  time.Time     // the same by the wall clock
	ahead time.Duration // of the wall clock; negative after a jump that is not followed yet
	last  time.Time     // the last result
	jumps []Jump        // the oldest first
	moved atomic.Bool   // there is one
	news  int           // how many of them were not told
}

// Jump is a jump of the wall clock.
type Jump struct {
	At time.Time // the time it would have shown without the jump
	By time.Duration
}

// Time is one moment, by both clocks.
type Time struct {
	Now    time.Time     // by the Clock
	Wall   time.Time     // by the wall clock
	Behind time.Duration // as the method says
}

// Ahead converts a time of the wall clock to the Clock.
func (t Time) Ahead(wall time.Time) time.Time { return wall.Add(t.Now.Sub(t.Wall)) }

// Read reads the clock.
func (c *Clock) Read() Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	now := c.wall.Add(c.ahead)
	if now.Before(c.last) {
		now = c.last
	}
	c.last = now
	return Time{now, c.wall, max(-c.ahead, 0)}
}

// Now returns the time by the Clock.
func (c *Clock) Now() time.Time { return c.Read().Now }

// look compares the clocks.
func (c *Clock) look() {
	mono := time.Now()
	wall := mono
	if c.Wall != nil {
		wall = c.Wall()
	}
	wall = wall.Round(0)
	if !c.begun {
		c.begun, c.mono, c.wall = true, mono, wall
		return
	}
	passed := mono.Sub(c.mono)
	expected := c.wall.Add(passed)
	c.mono, c.wall = mono, wall
	small := max(smallStep, passed/driftShare)
	if step := wall.Sub(expected); step > small || step < -small {
		c.ahead -= step
		if len(c.jumps) == maxJumps {
			c.jumps = append(c.jumps[:0], c.jumps[1:]...)
		}
		c.jumps = append(c.jumps, Jump{expected, step})
		c.moved.Store(true)
		c.news = min(c.news+1, maxJumps)
	}
	if c.ahead < 0 && c.ahead >= -small {
		c.ahead = 0
	}
}

// Behind is by how much the wall clock has jumped ahead of the Clock; zero where it
// has not.
func (c *Clock) Behind() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return max(-c.ahead, 0)
}

// Follow takes up jumps ahead: by so much at most.
func (c *Clock) Follow(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ahead < 0 {
		c.ahead = min(c.ahead+by, 0)
	}
}

// News are the jumps that were not told yet.
func (c *Clock) News() []Jump {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	list := append([]Jump(nil), c.jumps[len(c.jumps)-c.news:]...)
	c.news = 0
	return list
}

// Moved returns by how much something dated then, by the wall clock, seems older than
// it is because of jumps since. It is negative if it seems younger.
func (c *Clock) Moved(dated time.Time) (by time.Duration) {
	if !c.moved.Load() {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range c.jumps {
		switch at := dated.Add(by); {
		case j.By > 0 && !at.After(j.At):
			by += j.By
		case j.By < 0 && by > 0:
			by = max(by+j.By, 0)
		case j.By < 0 && at.After(c.wall) && !at.After(j.At):
			by += j.By // only something dated before the jump can be later than now
		}
	}
	return by
}
