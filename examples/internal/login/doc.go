// Package login authenticates users of a mail server without storing their passwords:
// it uses a file of SCRAM verifiers (RFC 5802), from which passwords cannot be read.
//
//		users, err := login.Read("/etc/relay/logins")
//		exchange := users.Begin("SCRAM-SHA-256", attempt) // which may ask a Guard
//		challenge, err := exchange.Next(response) // until exchange.User() is not nil
//
//	 1. NewVerifier makes a verifier from a password, and Write puts a user into a file.
//	 2. Read reads the file. Each user has the addresses that mail may come from.
//	 3. Users.Begin begins an exchange by SCRAM-SHA-256, PLAIN or LOGIN.
//	 4. Guard slows down clients that fail.
//
// An exchange does not reveal which users exist: for an unknown user it takes the same
// steps and the same time, and fails at its end. Only at an address from which a user has
// logged in, the Guard may let that name wait for less than others.
package login
