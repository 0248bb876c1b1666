package delivery

import "sync"

// maxIdleWorkers is how many workers wait for more to do.
const maxIdleWorkers = 64

// workers are the goroutines of a run that find routes and make attempts. One that has
// done its work waits for more, among a few others: its stack has grown to what the work
// takes, which each new one would have to do first.
type workers struct {
	all  sync.WaitGroup
	next chan func()   // to one of those that wait
	room chan struct{} // has an element for each of those
	over chan struct{} // closed when there is nothing more to wait for
}

func newWorkers() workers {
	return workers{next: make(chan func()), room: make(chan struct{}, maxIdleWorkers), over: make(chan struct{})}
}

// Go has some work done.
func (w *workers) Go(work func()) {
	select {
	case w.next <- work:
	default:
		w.all.Go(func() { w.do(work) })
	}
}

// do does some work, and then what comes.
func (w *workers) do(work func()) {
	for work != nil {
		work()
		select {
		case w.room <- struct{}{}:
		default:
			return
		}
		select {
		case work = <-w.next:
		case <-w.over:
			work = nil
		}
		<-w.room
	}
}

// end returns when all is done. From then on nothing waits; what is begun until it has
// returned is done, too.
func (w *workers) end() {
	close(w.over)
	w.all.Wait()
}
