// Package smtp is the client side of an ESMTP session (RFC 5321): one connection, any
// number of transactions, and a result for every recipient.
//
// A session goes through these steps:
//
//  1. [New] takes a connection. [Session.Handshake] makes the TLS handshake at once if
//     the port requires that (RFC 8314).
//  2. [Session.Greet] reads the greeting.
//  3. [Session.Hello] sends EHLO, or HELO if necessary, and learns what the server
//     offers: [Session.Extensions]. Options known not to work with the server are left
//     out: Config.Without.
//  4. [Session.StartTLS] starts TLS if it is offered, and Hello follows again:
//     everything learnt in clear is forgotten.
//  5. [Session.Send] makes one transaction: MAIL, RCPT and the content, in as few
//     flights as the server allows and certainty permits. [Result] has the result for
//     each recipient.
//  6. After a while, [Session.Check] checks that the session still works, and step 5
//     follows again as long as [Session.Reusable] permits.
//  7. [Session.Quit] ends it politely, [Session.Close] at once.
//
// # Flights
//
// Without PIPELINING every command waits for its reply. With it, MAIL, all RCPT and
// DATA are sent together and the content follows 354: two round trips. With CHUNKING as
// well, the content is sent along with the envelope: one round trip. The first
// transaction of a session takes two even then, because a server that hangs up at the
// first MAIL would otherwise leave it unknown whether it accepted the message. So does
// content over 256 KiB, which would be wasted if every recipient is refused, and a
// transaction that must Wait. RSET after an unfinished transaction is sent with the
// next one.
//
// # Guarantees
//
//   - Nothing is sent that the server has not offered to accept, and no command with a
//     control character: one function seals every command.
//   - A reply is read within limits of line length, lines, octets and time, and does
//     not depend on the one before. An unexpected or invalid reply ends the session.
//   - Content never becomes a message if it cannot be read to its end, is not as long
//     as announced, has a bare CR or LF and may have none, or if Transaction.Commit
//     returns false.
//   - Every recipient has a state after Send in all cases. It is Unknown if and only if
//     the last octet of the content was passed to the network, no answer to it was
//     understood, and no earlier reply proves that the recipient was refused.
//   - Every wait ends: by its own timeout, by the backstop of the transaction, and at
//     once when the context does.
//
// # What a server cannot do
//
// Servers offer extensions that do not work. The options that a session used when
// something failed, and could have left out, are the [Doubt] of the [Error] or
// [Result]: the caller makes another session without them, at once or later. The table
// of these options is in optional.go.
//
// # Errors
//
// Every failure is an [*Error] with the stage, the kind, and either the server's reply
// or a cause. The caller judges whether it is temporary.
//
// # Concurrency
//
// A Session must not be used concurrently. Send may write on a second goroutine, which
// has ended when it returns.
package smtp
