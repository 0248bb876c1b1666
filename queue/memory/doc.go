// Package memory is a queue that forgets: everything in it is gone when the
// program ends, whatever its clients were told. It is the reference of the
// contract in package queue, for tests, for programs whose mail is not worth a
// disk, and for trying things out. Package disk is the one that keeps mail.
//
// How it works:
//
//  1. Every message is an entry with one delivery per destination (entry.go).
//  2. A delivery that is due lies in a heap with the others of its tenant at its
//     destination (lane.go); one that is not lies in one heap by the time it wakes
//     up (order.go).
//  3. A claim wakes up what is due, then takes the best delivery of the best
//     destination until a bound stops it (claim.go).
//
// Times are compared when a delivery is taken, not only when it is woken, so
// that a clock that goes back takes back what is no longer due.
//
// # Queue
//
// The zero Queue is ready for use and safe for concurrent use; it implements
// every optional interface of package queue but makes nothing durable.
//
// A claim costs the logarithm of what waits for each delivery that it takes, and
// for each tenant at a destination that it passes over, however much mail that has.
// What concerns more deliveries than 512 gives the lock up after so many, and others
// come in between (lock.go). These do not, and take longer the larger they are: Put
// and Show of one message, a claim of many deliveries, a page of a list, and, once
// seven eighths of the messages that there were have left, the call that gives their
// memory back.
package memory
