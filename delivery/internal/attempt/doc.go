// Package attempt makes one walk over the hosts of a route, for the recipients of a
// message at one destination, and records what the hosts replied.
//
// [Config.Job] begins with a message, and
//
//  1. [Job.Accept] parses its envelope and examines its content, and [Job.Group] groups
//     the recipients by destination; errors in either are settled there;
//  2. [Walk.Along] takes the recipients of one destination along its route, host by
//     host and address by address; [Walk.NoRoute] settles them if there is none;
//  3. for each address it takes a session from package session, and offers the
//     recipients still open in as few transactions as the host allows;
//  4. each reply becomes a [Verdict] by [Judge] or Config.Judge, and a failure without
//     a reply becomes one by its kind;
//  5. the ledger records the meaning for each recipient: which are settled, which are
//     offered to the host's next address, and which to the next host;
//  6. when there are no more hosts, the recipients that failed temporarily at all of
//     them go on to the route's fallback;
//  7. [Job.Results] has for each recipient the deciding verdict, by the order in
//     [Decide], and every [Attempt] with the reason the walk went on or ended.
//
// It does not know where routes come from, or when there will be another attempt.
//
// The walks of a Job may be made concurrently. Nothing else of it is safe for
// concurrent use.
package attempt
