// Package lease has the leases of the deliveries that an agent has claimed.
//
// A [Table] is told what is claimed, extended, settled and lost, and says which leases are
// about to end, and whether a delivery may still be sent: only its agent may send it, and
// only as long as the lease lasts. It makes no call of the queue and has no clock: times
// are values.
package lease
