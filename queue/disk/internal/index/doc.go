// Package index is what the spool keeps in memory: where each delivery's record
// lies, since when or from when it is due, and who holds a lease on it.
//
// A delivery costs 40 bytes: 34 in chunks without pointers, which the garbage
// collector does not look into, 4 in the pile of its lane, or 5 where
// they come in no order, and 2 in the hash table. Destinations, tenants, lanes and leases are kept apart and cost what
// there is of them.
//
// A lane is the deliveries that differ in age alone: one destination, one
// tenant, one priority, and either due at once or from a time on. The due lanes
// of each tenant stand in a heap by the order of claims, and so do the tenants;
// the other lanes stand in one by when they become due. A destination with many lanes
// has heaps of its own beside those. A claim so costs what it returns and what its
// options name, however much waits.
//
// The deliveries of a lane are sorted by age, so that any of them is found as fast
// as the first. What may take long, a flush, a list, a claim or a message with very many
// deliveries, is done in pieces: the caller says how much at a time, and all else may
// happen in between. A postponement may leave the lanes of its destination where they
// stand; the next claim begins by moving them.
//
// Nothing here is safe for concurrent use.
package index
