// Package delivery delivers mail: a message and its recipients in, an outcome
// for each recipient out.
//
// A [Sender] makes one attempt, now. For each destination among the recipients
// it
//
//  1. asks its [Router] for the route: next hops in order (package mx, unless
//     told otherwise);
//  2. walks the hosts in that order, and the addresses of each host in theirs,
//     leaving out addresses that failed a moment ago; destinations with the same
//     hosts are walked together, if that changes nothing for any of them;
//  3. asks its [PolicySource] what TLS the host must give, takes a kept session
//     that satisfies it or makes one: connect, greeting, EHLO, STARTTLS;
//  4. offers the recipients still open in as few transactions as the host
//     allows, and judges every reply with [Judge]: what it means for the
//     recipient, and whether another host may be asked;
//  5. stops when no recipient is open, when nobody knows whether a host took
//     the message, or when the hosts are used up and so are those of the route's
//     fallback, if it has one: they get the recipients whom every host has
//     failed for now. [Decide] makes one outcome per recipient of what all
//     hosts said.
//
// [Sender.Send] answers with a [Report]: per recipient the outcome, the host
// that decided, and every [Attempt] with the reason the walk went on or ended.
// [Sender.Explain] shows steps 1 to 3 without connecting.
//
// # Guarantees
//
//   - Order of preference is never violated, neither for address families nor
//     for speed.
//   - A recipient that was delivered or refused for good is not offered again.
//   - A host's own refusal never outranks another host's "not now".
//   - Nothing is offered elsewhere after the reply to the final dot was lost.
//   - Content that cannot be read to its end never becomes a message.
//
// # Errors
//
// What went wrong is an [*Error]: the stage, the host, the reply, the cause, and
// whether it is temporary. Send returns one exactly when some recipient was not
// delivered, so that a program which sends one message to one recipient needs
// no more than the error.
//
// # An agent
//
// An [Agent] delivers what is in a queue (package queue) and keeps at it:
//
//  1. [Agent.Submit] puts a message there, or refuses what can never go;
//  2. [Agent.Run] claims what is due, a bounded number ahead, and sends what
//     leads to the same hosts over the same connections, within [Limits];
//  3. every outcome is settled in the queue, with the next attempt by the
//     [Schedule] and the report that a failure causes, in one step;
//  4. then the Events hook is told.
//
// A site, which is all destinations with the same hosts, whose hosts are down
// costs one attempt each time the schedule allows one, however many messages
// wait for it. Waiting is charged to no message.
//
// # Concurrency
//
// A Sender is safe for concurrent use once its fields are set. It keeps
// sessions open between calls; Close ends them. So is an Agent; Run ends every
// goroutine and every connection it has begun.
package delivery
