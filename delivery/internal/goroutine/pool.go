package goroutine

import "sync"

// maxIdle is how many goroutines of a Pool wait for more work.
const maxIdle = 64

// Pool runs work on goroutines of its own, each piece at once. A goroutine that has
// finished its work waits for more, unless enough others do: its stack has grown to what
// the work needs, which the stack of a new goroutine would have to do first. The one that
// has waited for the shortest time is used first, because the stacks of the others shrink
// while they wait.
type Pool struct {
	all  sync.WaitGroup
	mu   sync.Mutex
	idle []chan func() // of goroutines that wait, the last one for the shortest time
	over bool          // no goroutine is to wait any more
}

// Go runs some work. It does not wait for it.
func (p *Pool) Go(work func()) {
	p.mu.Lock()
	if last := len(p.idle) - 1; last >= 0 {
		next := p.idle[last]
		p.idle = p.idle[:last]
		p.mu.Unlock()
		next <- work
		return
	}
	p.mu.Unlock()
	p.all.Go(func() { p.run(work) })
}

// run does some work, and then the work that follows.
func (p *Pool) run(work func()) {
	next := make(chan func(), 1)
	for work != nil {
		work()
		if !p.wait(next) {
			return
		}
		work = <-next
	}
}

// wait adds a goroutine to those that wait, or returns false if it is to end.
func (p *Pool) wait(next chan func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || len(p.idle) == maxIdle {
		return false
	}
	p.idle = append(p.idle, next)
	return true
}

// End returns when all work is done and all goroutines have ended. Work that is passed to
// Go before End has returned is done, too.
func (p *Pool) End() {
	p.mu.Lock()
	p.over = true
	for _, next := range p.idle {
		close(next)
	}
	p.idle = nil
	p.mu.Unlock()
	p.all.Wait()
}
