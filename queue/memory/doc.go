// Package memory is a queue in memory: everything in it is lost when the program ends. It
// is the reference implementation of the contract in package queue, and is meant for tests,
// for trying things out, and for mail that may be lost. Package disk is the durable queue.
//
// How it works:
//
//  1. Every message is an entry with one delivery per destination (entry.go).
//  2. Deliveries that are due are in heaps, one for each tenant and destination (lane.go).
//     The others are in one heap, ordered by the time when they become due (order.go).
//  3. A claim first moves what has become due to its heap, then takes the best delivery of
//     the best destination until a bound stops it (claim.go).
//
// Times are compared again when a delivery is taken, so that nothing is claimed that is no
// longer due because the clock was set back.
//
// # Queue
//
// The zero Queue is ready to use and safe for concurrent use. It implements every optional
// interface of package queue. Two Queues may give the same id.
//
// A claim takes time logarithmic in the number of deliveries, for each delivery that it
// takes and for each tenant at a destination that it skips. A call that concerns more than
// 512 deliveries releases the lock after each 512, so that other calls can run (lock.go).
// The exceptions, which take longer the larger they are, are Put and Show of one message, a
// claim of many deliveries, a page of a list, and the call that frees memory after seven
// eighths of the messages have left.
package memory
