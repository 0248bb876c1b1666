package postgres

// Remember bounds how many heads a handle remembers between claims.
func Remember(q *Queue, most int) { q.front.most = most }
