package postgres

// Remember bounds how many heads a handle remembers between claims.
func Remember(q *Queue, most int) { q.front.most = most }

// WaitingPuts is how many calls of Put wait for a transaction.
func WaitingPuts(q *Queue) int {
	q.puts.mu.Lock()
	defer q.puts.mu.Unlock()
	return len(q.puts.waiting)
}
