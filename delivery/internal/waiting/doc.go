// Package waiting is why mail waits, as it is stored, and what somebody has said to
// leave alone.
//
// A [Reason] is the text that a queue keeps of a postponement or a settlement, so that
// whoever looks into the queue later knows more than a time. A [Table] answers whether
// mail is suspended. [Deadlines] keeps the times at which mail that nobody claims is
// to be looked at all the same.
//
// There is no clock in here, no goroutine and no queue.
package waiting
