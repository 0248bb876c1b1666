// Package delivery delivers mail: a message goes in, and an outcome for each of its
// recipients comes out.
//
// A [Sender] makes one attempt, now. For each destination among the recipients it
//
//  1. asks its [Router] for the route, which lists the next hops in order (by default
//     that of package mx);
//  2. tries the hosts in that order, and the addresses of each host in the order given,
//     except addresses that failed a moment ago. Destinations with the same hosts are
//     tried together if that changes nothing for any of them;
//  3. asks its [PolicySource] which TLS the host must offer, then reuses a session that
//     satisfies it or opens one: connect, greeting, EHLO, STARTTLS;
//  4. offers the recipients that have no outcome yet, in as few transactions as the host
//     allows. [Judge] decides what every reply means for the recipient, and whether
//     another host may be asked;
//  5. stops if every recipient has an outcome, if it is unknown whether a host accepted
//     the message, or if no host is left. The fallback hosts of the route, if there are
//     any, come last: they are offered the recipients that failed temporarily at every
//     other host. The [Verdict] type says how those of all hosts make one outcome.
//
// [Sender.Send] returns a [Report], which has for each recipient the outcome, the host
// that decided it, and every [Attempt] with the reason for trying the next host or
// stopping. [Sender.Explain] does steps 1 to 3 without connecting.
//
// # Guarantees
//
//   - Hosts are tried in order of preference. Neither address families nor speed change
//     that.
//   - A recipient that was delivered or permanently refused is not offered again.
//   - If a host fails altogether, even permanently, that never outranks a temporary
//     failure of another host.
//   - If the reply to the content is lost, the message is not offered to another host.
//   - If content cannot be read to its end, no host accepts it as a complete message.
//
// # Errors
//
// An [*Error] says what went wrong: the stage, the host, the reply, the cause, and
// whether it is temporary. Send returns one if and only if some recipient was not
// delivered. A program that sends one message to one recipient needs nothing else.
//
// # Agent
//
// An [Agent] delivers the mail in a queue (package queue) and retries it:
//
//  1. [Agent.Submit] puts a message into the queue, or refuses one that could never be
//     delivered;
//  2. [Agent.Run] claims mail that is due, a bounded number ahead, and sends mail for
//     the same hosts over the same connections, within [Limits];
//  3. every outcome is settled in the queue, in one step with the time of the next
//     attempt, given by the [Schedule], and with the report that a failure causes;
//  4. then the Events hook is called.
//
// A site is all destinations with the same hosts. While its hosts are down, it costs one
// attempt each time the schedule allows one, however many messages are waiting for it.
// Waiting never counts as an attempt.
//
// # Concurrency
//
// A Sender and an Agent are safe for concurrent use once their fields are set. A Sender
// keeps sessions open between calls; Close ends them. Run ends every goroutine and every
// connection that it started.
package delivery
