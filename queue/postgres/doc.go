// Package postgres is the queue in a PostgreSQL database: durable, shared by any number of
// agents on any number of machines, and open to the application's own transactions.
//
//  1. Migrate makes the tables, in a schema of their own, or brings them forward. Open
//     only looks at their version.
//  2. Put stores a message with one statement. A content of more than 64 KiB is stored in
//     pieces before that, each by a statement of its own: a slow source holds no
//     transaction open.
//     PutTx and PutSQL put a message with a transaction of the application.
//  3. Claim leases what is due in one round trip. It looks at lanes, which are what a
//     tenant has for a destination at a priority, in the order in which something in
//     them became due: what waits behind a bound or for a destination that is postponed
//     costs nothing. No claim waits for another.
//  4. Settle records a batch in one round trip, with the messages it creates.
//  5. Wait returns when a handle has changed something, told by a notification after the
//     commit. Notifications are not needed: without them Wait returns every now and then.
//
// There is no leader and no state of a session, so that the pool may go through PgBouncer
// in transaction mode. docs/postgres.md is for the administrator of the database.
//
// # Times
//
// The database holds times on the clock of its server. A handle measures how far its own
// clock is off, and takes off or adds the difference if that is a quarter of a second or
// more; so agents whose clocks differ by hours do not take each other's leases.
// Times of a message itself are stored as they are given.
//
// # What survives
//
// Put, Hold, Release, Drop, Mark, Suspend, Resume and a Settle that creates messages are
// committed synchronously even if the role's settings say otherwise. A claim, any other
// settlement, Extend, Flush and Postpone are committed asynchronously: a crash of the
// server loses those of its last three wal_writer_delay (0.6 s by default). What a standby
// has after a failover is up to synchronous_standby_names. After one that has lost
// commits, ids and tokens given anew are none that were given before.
//
// # What goes wrong
//
// A call ends with an error if the server does not answer within Options.Timeout. A call
// that the server gave up for the sake of another transaction is made again. A full device
// is queue.ErrFull. Envelopes, states and contents have checksums; damage answers
// queue.ErrDamaged for the message concerned.
package postgres
