// Package attempt is one walk over the hosts of a route, for the recipients that a
// message has at one destination, and what the hosts said of them.
//
// [Config.Job] begins with a message, and
//
//  1. [Job.Accept] parses its envelope and looks at its content, and
//     [Job.Group] sorts the recipients by destination; what is wrong with either
//     is settled there;
//  2. [Walk.Along] takes the recipients of one destination along its route, host
//     by host and address by address; [Walk.NoRoute] settles them where there is
//     none;
//  3. for each address it takes a session from package session, and offers the
//     recipients still open in as few transactions as the host allows;
//  4. each reply becomes a [Verdict] by [Judge], or by Config.Judge in its place,
//     and anything that is no reply becomes one by its kind;
//  5. the ledger notes what that means for each recipient: who is settled, who is
//     to be offered to the host's next address, and who to the next host;
//  6. when the hosts are used up, the recipients whom all of them failed for now
//     go on to the route's fallback;
//  7. [Job.Results] has for each recipient what decided, in the order that
//     [Decide] puts verdicts in, and every [Attempt] with the reason the walk went
//     on or ended.
//
// It does not know where routes come from, nor when there will be another attempt.
//
// The walks of a Job may be made at the same time. Nothing else of it is safe for
// concurrent use.
package attempt
