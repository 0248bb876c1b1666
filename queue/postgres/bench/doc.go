// Package bench compares the queue in PostgreSQL with River (github.com/riverqueue/river)
// on the same server, in the same run: one message is one job with the content in its
// arguments, delivered by the same Sender. It is a module of its own, so that nobody else
// requires River.
//
//	make bench-postgres
//
// Beside that it measures what agents do with mail for a site that is full.
package bench
