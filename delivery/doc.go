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
//  5. stops when no recipient is open, when it is not known whether a host took
//     the message, or when the hosts are used up. The hosts of the route's
//     fallback, if it has one, come last: they get the recipients that every host
//     has failed for now. [Decide] makes one outcome per recipient of the verdicts
//     of all hosts.
//
// [Sender.Send] returns a [Report]: per recipient the outcome, the host
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
// An [*Error] says what went wrong: the stage, the host, the reply, the cause, and
// whether it is temporary. Send returns one exactly when some recipient was not
// delivered. A program that sends one message to one recipient needs no more than
// the error.
//
// # An agent
//
// An [Agent] delivers the mail in a queue (package queue) and keeps at it:
//
//  1. [Agent.Submit] puts a message there, or refuses one that can never go;
//  2. [Agent.Run] claims due mail, a bounded number ahead, and sends mail for the
//     same hosts over the same connections, within [Limits];
//  3. every outcome is settled in the queue, with the next attempt by the
//     [Schedule] and the report that a failure causes, in one step;
//  4. then the Events hook is told.
//
// A site is all destinations with the same hosts. While its hosts are down it
// costs one attempt each time the schedule allows one, however many messages
// wait for it. Waiting never counts as an attempt.
//
// # Concurrency
//
// A Sender and an Agent are safe for concurrent use once their fields are set. A
// Sender keeps sessions open between calls; Close ends them. Run ends every
// goroutine and every connection that it has begun.
package delivery
