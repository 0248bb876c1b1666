// Package session makes, keeps and counts connections to mail hosts. It does not deal
// with messages: its caller takes a [Session] from a [Pool] and gives it back.
//
// For one address of one host, a [Hop],
//
//  1. [Pool.PolicyFor] returns the TLS that the host must give: the configured level,
//     raised by the policy source;
//  2. [Pool.Kept] looks for a kept session with the same host, address, source address,
//     TLS and login, and checks that it still answers;
//  3. otherwise [Memory.Ask] says whether the address may be dialled, or failed a
//     moment ago;
//  4. [Pool.Fresh] waits at the hop's [Gate] for the right to one more connection, then
//     dials, reads the greeting, says EHLO, starts TLS as the policy requires, resuming
//     an earlier TLS session with the same requirements, checks that the host is not
//     this one, and logs in;
//  5. [Pool.Keep] puts the session back after it has carried a message, and
//     [Pool.Abandon] closes one in the middle of a dialogue.
//
// Failures are returned unchanged: an [*smtp.Error] for a failure in the dialogue, an
// [*Error] for one before it, [ErrSelf], [ErrNoTLS], and an error that [IsLogin]
// recognises. Their meaning for a message is decided elsewhere.
//
// A Pool, a Memory and a Gate are safe for concurrent use. A Session is not.
package session
