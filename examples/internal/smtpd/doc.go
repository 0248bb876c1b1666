// Package smtpd takes mail in by SMTP (RFC 5321): the server half of the relay. It
// knows nothing of queues but their nouns; who may send to whom, and where messages
// go, are two functions its user gives it.
//
//  1. Server.Serve accepts connections, as many as it has room for.
//  2. A session reads commands; MAIL and RCPT make a Transaction, and every
//     recipient is shown to Server.Rcpt. A line of another protocol ends the session
//     (protocol.go).
//  3. DATA or BDAT bring the content, behind a Received field of our own. A small
//     one stays in memory, a large one goes to a file without a name, so that a
//     client that leaves in the middle, and a process that dies, leave nothing.
//  4. Server.Data takes the message. What it answers is the reply to the client.
//
// It offers PIPELINING, CHUNKING, SIZE, 8BITMIME, SMTPUTF8, DSN and
// ENHANCEDSTATUSCODES, with a certificate STARTTLS, and under TLS REQUIRETLS and, if there
// are Logins, AUTH by SCRAM-SHA-256 and PLAIN (auth.go). A line ends
// with CRLF and with nothing else: a bare CR or LF, in a command or in content, ends
// the session with a refusal, so that no two servers ever disagree on where a
// message ends.
//
// Of trusted clients syntax is taken that is none: no brackets around a path, blanks
// around a colon, any name in EHLO, hints of no sense in SIZE and BODY. Recipients that
// are refused, or are more than are taken, never cost a message those that were taken.
//
// What one client can make the server hold is bounded (memory.go): less than 128 KiB of
// buffers for each of its sessions, 200 at most; 256 KiB of envelope and 256 KiB of
// content for each; and of the 64 MiB which envelopes and contents have in all, 8 MiB
// for one stranger (an IPv4 address, or an IPv6 network of 64 bits) and 32 MiB for all
// of them. A stranger so costs 33 MiB at most, and a thousand sessions 189 MiB. A quarter of the
// thousand is for trusted clients, and a stranger who sends nothing for an hour has to go.
//
// Replies wait in a buffer until the client has nothing more to say, so that a group
// of pipelined commands is answered in one write.
package smtpd
