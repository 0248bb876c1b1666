// Package index is the part of the spool that is kept in memory: where each delivery's
// record is, since when or from when it is due, and its lease.
//
// A delivery costs 40 bytes: 34 in chunks without pointers, which the garbage collector
// does not scan, 4 in the pile of its lane, or 5 if they come in no order, and 2 in the
// hash table. Destinations, tenants, lanes and leases are stored separately and cost
// memory by their number.
//
// A lane has the deliveries that differ only in age: one destination, one tenant, one
// priority, and either due at once or from some time on. The due lanes of each tenant
// are in a heap by the order of claims, and so are the tenants; the other lanes are in
// one heap by the time at which they become due. A destination with many lanes also has
// heaps of its own. So the cost of a claim depends on what it returns and what its
// options name, and not on the number of waiting deliveries.
//
// The deliveries of a lane are sorted by age, so that any of them is found as fast as
// the first. Operations that may take long (a flush, a list, a claim, a message with
// very many deliveries) are done in pieces: the caller says how much at a time, and
// anything else may happen in between. A postponement may leave the lanes of its
// destination in their places; the next claim begins by moving them.
//
// Nothing here is safe for concurrent use.
package index
