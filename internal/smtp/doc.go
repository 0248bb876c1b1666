// Package smtp is the client side of an ESMTP session (RFC 5321): one
// connection, any number of transactions, and for every recipient what became
// of it.
//
// A session goes through these steps:
//
//  1. [New] takes a connection. [Session.Handshake] makes TLS of it at once
//     where the port asks for that (RFC 8314).
//  2. [Session.Greet] reads the greeting.
//  3. [Session.Hello] says EHLO, or HELO where it must, and learns what the
//     server offers: [Session.Extensions]. What was found not to work with the
//     server is left out: Config.Without.
//  4. [Session.StartTLS] makes TLS of it where that is offered, and Hello comes
//     again: what was said in clear is forgotten.
//  5. [Session.Send] makes one transaction: MAIL, RCPT and the content, in as
//     few flights as the server allows and certainty permits. [Result] says
//     what became of it.
//  6. After a while, [Session.Check] looks whether the session is still good,
//     and step 5 follows again as long as [Session.Reusable] says so.
//  7. [Session.Quit] ends it politely, [Session.Close] at once.
//
// # Flights
//
// Without PIPELINING every command waits for its reply. With it, MAIL, all RCPT
// and DATA go out together and the content follows 354: two round trips. With
// CHUNKING as well, the content goes along with the envelope: one round trip.
// The first transaction of a session takes two even then, for a server that
// hangs up at the first MAIL would otherwise leave it unknown whether it took
// the message; so does content over 256 KiB, which would be wasted if every
// recipient is refused, and a transaction that is told to Wait. RSET, where a
// transaction was left unfinished, goes out with the next one.
//
// # Guarantees
//
//   - Nothing is sent that the server has not offered to take, and no command
//     that holds a control character: one function seals every command.
//   - A reply is read within bounds of line, lines, octets and time, and none
//     depends on the one before. One that comes unasked, or makes no sense,
//     ends the session.
//   - Content that cannot be read to its end, is not as long as announced, has
//     a CR or LF alone where that matters, or whose Transaction.Commit says no,
//     never becomes a message.
//   - Every recipient has a state after Send, whatever happened. It is Unknown
//     exactly where the last octet of the content was handed to the network, no
//     answer to it was understood, and nothing said before proves that the
//     recipient was refused.
//   - Every wait ends: by its own timeout, by the backstop of the transaction,
//     and at once when the context does.
//
// # What a server cannot do
//
// Servers offer what does not work. What a session used when something failed, and
// could have done without, is the [Doubt] of the [Error] or [Result]: the caller
// makes another session, at once or later, that goes without it. The table of these
// options is in optional.go.
//
// # Errors
//
// Everything that fails is an [*Error]: the stage, the kind, and either the
// server's reply or a cause. Whether it is temporary is for the caller to judge.
//
// # Concurrency
//
// A Session is for one goroutine at a time. Send may write in a second one,
// which has ended when it returns.
package smtp
