// Package postgres is a queue in a PostgreSQL database. It is durable, can be shared by
// any number of agents on any number of machines, and lets applications put mail in
// their own transactions.
//
//  1. Migrate creates the tables in a schema, or updates them. Open only checks their
//     version.
//  2. Put stores a message with one statement. Calls that come while others are under
//     way share a transaction, and return after its commit (Options.SeparatePuts). A
//     content of more than 64 KiB is stored in pieces before that, each by a separate
//     statement, so that a slow source holds no transaction open. PutTx and PutSQL put a
//     message in a transaction of the application.
//  3. Claim leases due deliveries in one round trip, and opens the contents of up to
//     64 KiB: an Open that follows within two seconds does not ask the database, and so
//     does not notice if the message has left through another handle since. It works on lanes: a lane is the
//     mail of a tenant for a destination at one priority. Claim goes through the lanes
//     in the order in which their mail became due, so mail beyond a bound or for a
//     postponed destination costs nothing. Claims never wait for each other.
//  4. Settle records a batch in one round trip, with the messages it creates, and with the
//     outcomes that Outcomes returns, if Options.KeepOutcomes says so.
//  5. Wait returns when another handle has made a change, by a notification after the
//     commit. Notifications are not required: without them Wait returns at regular
//     intervals.
//
// Stats reports on the database: dead rows, the oldest transaction that keeps them, the
// pool and the listener. Package tlsstore keeps MTA-STS policies and TLS reports in the
// same schema.
//
// There is no leader and no state in a session, so the pool may go through PgBouncer in
// transaction mode. docs/postgres.md is for the administrator of the database.
//
// # Times
//
// The database stores times on the clock of its server. A handle measures the
// difference to its own clock, and corrects times by it if it is a quarter of a second
// or more. So agents whose clocks differ by hours do not take each other's leases. The
// times of a message itself are stored as given.
//
// # What survives
//
// Put, Hold, Release, Drop, Mark, Suspend, Resume and a Settle that creates messages
// are committed synchronously, even if the role's settings say otherwise. A claim, any
// other settlement, Extend, Flush and Postpone are committed asynchronously: a crash of
// the server loses those of the last three wal_writer_delay (0.6 s by default). What a
// standby has after a failover depends on synchronous_standby_names. If a failover has
// lost commits, the ids and tokens given afterwards are different from the lost ones.
//
// # What goes wrong
//
// A call fails if the server does not answer within Options.Timeout. If the context of a
// Claim or Take ends, the call takes a moment more, 4 s at most, to learn what it has
// leased, and gives that back. If the server aborts a call in favour of another
// transaction, it is made again. If the device is full, the error is queue.ErrFull.
// Settlements are then recorded without the messages that they create (Settled.NoRoom), or if
// they only remove rows; outcomes are in memory until there is room, or lost if the process
// ends before.
// Envelopes, states and contents have checksums; if they are damaged, calls about the
// message return queue.ErrDamaged.
package postgres
