// Package postgrestest starts PostgreSQL for tests: a separate cluster in a temporary
// directory, reached by a socket there, that can be killed, started again and deleted.
//
//	server, err := postgrestest.Start()
//	…
//	defer server.Close()
//	pool, err := pgxpool.New(ctx, server.URL())
//
// The programs are looked for in the folder that NEXTHOP_POSTGRES names, in .peers of
// the directories above (make setup puts them there), in Debian's location, and in
// PATH. A server refuses to run as root. If the tests do, it gets another user id in a
// user namespace of its own, and needs no other account.
package postgrestest
