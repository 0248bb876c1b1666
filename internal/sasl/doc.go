// Package sasl proves to a server who is logging in (RFC 4422): the mechanisms
// there are, which of them to use, and the client's side of each.
//
//  1. [Choose] holds what a server offers against what a [Login] can serve, and
//     lists the mechanisms that fit, the strongest first.
//  2. [Login.Client] is the client's side of one of them, for one exchange.
//
// The order is: EXTERNAL, which sends no secret and works with the certificate
// alone; SCRAM-SHA-256-PLUS and SCRAM-SHA-256, which prove that the password is
// known, and have the server prove it, too; OAUTHBEARER and XOAUTH2, whose tokens
// expire; PLAIN and LOGIN, which hand the password over to a server whose
// certificate was verified. CRAM-MD5 comes after these: it lets anybody who listens
// try passwords as fast as MD5 goes, and makes the server keep the password
// itself. If the server is not authenticated, or all is in clear, CRAM-MD5
// comes before whatever hands over a secret.
//
// No mechanism negotiates a security layer: TLS protects the session, so that
// nothing said before AUTH has to be forgotten after it (RFC 4954 section 4).
//
// A [Client] is for one exchange and one goroutine. It says which of what it
// sends is secret, so that a trace can leave that out, and no error or verb of
// package fmt shows any of it.
package sasl
