// Package waiting has the reasons why mail waits, in the form in which they are stored,
// and suspensions.
//
// A [Reason] is the text that a queue stores with a postponement or a settlement, so
// that programs that read the queue later know more than a time. A [Table] tells
// whether mail is suspended, and [Suspensions] also which destinations have turned out to
// be those of a suspended site. [Deadlines] has the times at which mail that is not
// claimed must be handled nevertheless.
//
// It has no clock, no goroutine and no queue.
package waiting
