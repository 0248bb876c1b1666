package memory

// Watch has a function called whenever the lock is given up.
func (q *Queue) Watch(f func()) { q.mu.watch = f }

// Pass does something that takes the lock, for who holds it and is about to give it up.
func (q *Queue) Pass(do func()) {
	q.mu.Mutex.Unlock()
	do()
	q.mu.Lock()
}
