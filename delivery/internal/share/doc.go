// Package share has an agent's shares of the limits that all agents on one queue have in
// common, such as the connections to a site.
//
// A [Set] is told what the agent needs of each limit ([Set.Plan]), and returns requests for
// the queue. It is told the answers ([Set.Take]), and says what the agent may use of a
// limit ([Set.Of]):
//
//  1. A share ends at the time that the queue has said, and sooner if it was not renewed:
//     it is asked for again every 5 s, and every second if it is not what is needed.
//  2. A share that has ended is zero. Nothing begins without a share.
//  3. What the agent does not need of a share it does not use from then on, since the queue
//     may give it to others with the next answer.
//  4. A limit that is not needed, not in use, and of which nothing is left is forgotten.
//
// It makes no call, starts no goroutine and has no clock: times are values.
package share
