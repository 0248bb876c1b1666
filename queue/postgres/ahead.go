package postgres

import (
	"sync"
	"time"
)

// ahead are short contents that came with claims, until they are opened. They are kept for
// a moment only: what waits for longer may be dropped through another handle, and Open is
// to notice.
type ahead struct {
	mu    sync.Mutex
	all   map[int64]*aheadContent // by the number of the message
	order []*aheadContent         // in which they came
	bytes int                     // of those in order
}

// aheadContent is one of them.
type aheadContent struct {
	shortContent
	number int64
	tag    int32
	came   time.Time
	uses   int // deliveries that are to open it
}

const (
	mostAhead = 16 << 20
	keptAhead = 2 * time.Second
)

// room is how many bytes there is room for.
func (a *ahead) room() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trim(time.Now())
	return int64(max(mostAhead-a.bytes, 0))
}

// trim forgets what was kept for long enough. What was used before is passed over.
func (a *ahead) trim(now time.Time) {
	n := 0
	for n < len(a.order) && (a.order[n].bytes == nil || now.Sub(a.order[n].came) >= keptAhead) {
		a.drop(a.order[n])
		n++
	}
	clear(a.order[:n])
	if a.order = a.order[n:]; len(a.order) == 0 {
		a.order = nil
	}
}

// drop forgets one.
func (a *ahead) drop(c *aheadContent) {
	if c.bytes == nil {
		return
	}
	a.bytes -= len(c.bytes)
	c.bytes = nil
	if a.all[c.number] == c {
		delete(a.all, c.number)
	}
}

// add keeps the contents that came with a claim.
func (a *ahead) add(list []claimed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for i := range list {
		c := &list[i]
		if len(c.content) > 0 {
			if a.all == nil {
				a.all = make(map[int64]*aheadContent)
			}
			if old := a.all[*c.message]; old != nil {
				a.drop(old)
			}
			one := &aheadContent{shortContent{c.content, *c.size, *c.contentSum}, *c.message, *c.tag, now, 0}
			a.all[*c.message] = one
			a.order = append(a.order, one)
			a.bytes += len(c.content)
			c.content = nil
		}
	}
	for i := range list {
		if one := a.all[*list[i].message]; one != nil && one.came.Equal(now) {
			one.uses++
		}
	}
}

// take returns the content of a message if it is there.
func (a *ahead) take(number int64, tag int32) *shortContent {
	a.mu.Lock()
	defer a.mu.Unlock()
	one := a.all[number]
	if one == nil || one.tag != tag {
		return nil
	}
	c := one.shortContent
	if one.uses--; one.uses <= 0 || time.Since(one.came) >= keptAhead {
		a.drop(one)
	}
	if time.Since(one.came) >= keptAhead {
		return nil
	}
	return &c
}

// forget drops the content of a message.
func (a *ahead) forget(number int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if one := a.all[number]; one != nil {
		a.drop(one)
	}
}
