// Package bench measures the spool beside stores that could have been used in
// its place: bbolt, SQLite, one file for each message, and a bare log that
// knows nothing but to append. Each lives through the same: 64 goroutines put
// a message of 4 KiB, wait until it is safe, read it back and delete it.
//
//	go test -C queue/disk/bench -run '^$' -bench . -benchtime 20000x
//
// All of them share transactions between those who wait. All but the bare log and
// the files check the message, keep its envelope and the order in which
// deliveries are due on the disk, have a backlog of 20,000 messages, and keep in
// memory what is to be done next, as the spool does.
package bench
