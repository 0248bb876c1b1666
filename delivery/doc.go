// Package delivery delivers mail: a message and its recipients in, an outcome
// for each recipient out.
//
// A [Sender] makes one attempt, now. For each destination among the recipients
// it
//
//  1. asks its [Router] for the route: next hops in order (package mx, unless
//     told otherwise);
//  2. walks the hosts in that order, and the addresses of each host in theirs,
//     leaving out addresses that failed a moment ago;
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
// # Concurrency
//
// A Sender is safe for concurrent use once its fields are set. It keeps
// sessions open between calls; Close ends them.
package delivery
