// Package smtpd receives mail by SMTP (RFC 5321); it is the server half of the relay.
// It uses only the types of package queue. Two functions of its user decide which
// recipients are accepted and what happens to messages.
//
//  1. Server.Serve accepts connections, up to a limit.
//  2. A session reads commands. MAIL and RCPT make a Transaction, and every recipient
//     is passed to Server.Rcpt. A line of another protocol ends the session
//     (protocol.go).
//  3. DATA or BDAT bring the content, which gets a Received field in front. A small
//     content stays in memory, and a large one is written to a file without a name, so
//     that nothing is left behind if the client disconnects or the process dies.
//  4. Server.Data takes the message. Its result is the reply to the client.
//
// It offers PIPELINING, CHUNKING, SIZE, 8BITMIME, SMTPUTF8, DSN and
// ENHANCEDSTATUSCODES, with a certificate STARTTLS, and under TLS REQUIRETLS and, if
// there are Logins, AUTH by SCRAM-SHA-256 and PLAIN (auth.go). Only CRLF ends a line: a
// bare CR or LF, in a command or in content, ends the session with a refusal, so that
// no two servers can disagree about where a message ends.
//
// From trusted clients it accepts some invalid syntax: no brackets around a path,
// blanks around a colon, any name in EHLO, invalid SIZE and BODY values. Recipients
// that are refused, or exceed the limit, never affect those that were accepted.
//
// The memory that one client can use is limited (memory.go). Each of its up to 200
// sessions has less than 128 KiB of buffers, 256 KiB of envelope and 256 KiB of
// content. All envelopes and contents together have 64 MiB; of these, one stranger (an
// IPv4 address, or an IPv6 network of 64 bits) has 8 MiB, and all strangers together 32
// MiB. So a stranger can use at most 33 MiB, and a thousand sessions 189 MiB. A quarter
// of the thousand is reserved for trusted clients, and a stranger who sends no mail for
// an hour is disconnected.
//
// Replies wait in a buffer until the client has nothing more to say, so that a group of
// pipelined commands is answered in one write.
package smtpd
