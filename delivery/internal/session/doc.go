// Package session is how a connection to a mail host comes to be, is kept and is
// counted. It knows nothing of messages: who has one to send takes a [Session]
// from a [Pool] and gives it back.
//
// For one address of one host, a [Hop],
//
//  1. [Pool.PolicyFor] says what TLS the host must give: what is configured,
//     raised by what a policy source asks;
//  2. [Pool.Kept] looks for a session from before with the same host, address,
//     source address, TLS and login, and checks that it still answers;
//  3. else [Memory.Ask] says whether the address may be dialled, or failed a
//     moment ago;
//  4. [Pool.Fresh] waits at the hop's [Gate] for the right to one more connection,
//     then dials, reads the greeting, says EHLO, brings up TLS as far as the
//     policy asks, resumed if it was there before as the same was asked, makes sure that
//     the host is not this one, and logs in;
//  5. [Pool.Keep] puts the session back once it has carried a message, and
//     [Pool.Abandon] closes one in the middle of a dialogue.
//
// What goes wrong is returned as it is: an [*smtp.Error] for what happened in the
// dialogue, an [*Error] for what happened before it, [ErrSelf], [ErrNoTLS], and an
// error that [IsLogin] knows. What that means for a message is not said here.
//
// A Pool, a Memory and a Gate are safe for concurrent use. A Session is not.
package session
