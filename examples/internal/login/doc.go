// Package login is who may log in to a mail server, without their passwords: a file of
// SCRAM verifiers (RFC 5802), from which no password can be read.
//
//		users, err := login.Read("/etc/relay/logins")
//		exchange := users.Begin("SCRAM-SHA-256")
//		challenge, err := exchange.Next(response) // until exchange.User() is somebody
//
//	 1. NewVerifier makes a verifier of a password, and Write puts a user into a file.
//	 2. Read reads the file. Each user has the addresses that mail may come from.
//	 3. Users.Begin begins an exchange by PLAIN or SCRAM-SHA-256.
//	 4. Guard slows those down who fail.
//
// Nobody learns which users there are: the exchange with a user who does not exist is
// the same, as long, and fails at its end.
package login
