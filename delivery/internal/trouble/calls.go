package trouble

import "sync"

// Call is the purpose of a call. The success of calls for one purpose does not hide the
// failure of calls for another.
type Call uint8

// The purposes.
const (
	Claim Call = iota
	Settle
	Extend
	Mark
	Open
	Postpone
	Other // no call of the queue: DNS, the network, the machine

	calls // how many there are
)

// Calls has the errors of calls that fail just now.
type Calls struct {
	mu   sync.Mutex
	errs [calls]error
}

// Failed notes that calls fail, and reports whether that is new.
func (c *Calls) Failed(what Call, err error) (news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	news = c.errs[what] == nil
	c.errs[what] = err
	return news
}

// Works notes that calls work.
func (c *Calls) Works(what Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs[what] = nil
}

// Err returns one of the errors, or nil if all calls work.
func (c *Calls) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, err := range c.errs {
		if err != nil {
			return err
		}
	}
	return nil
}
