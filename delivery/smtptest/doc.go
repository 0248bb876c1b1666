// Package smtptest is for testing programs that send mail: SMTP servers that do
// what they are told, a network of them in memory, and a judge of what clients
// say.
//
//  1. Write a [Host] as a literal: its Extensions, and in its Script what is to
//     go wrong, each [Cue] at one [Stage] of the dialogue.
//  2. Put hosts at addresses of a [Network] and dial with its DialContext, or
//     call [Host.Start] for a real port on 127.0.0.1, or hand [Host.Serve] any
//     connection.
//  3. Send mail.
//  4. Look at what arrived: [Host.Messages], [Host.Connections],
//     [Host.Commands], [Host.RoundTrips].
//  5. Call [Host.Check]: every rule of a standard that the client broke is an
//     error of the test, with the section where it stands ([Violation]).
//
// Everything in memory works in a bubble of testing/synctest, where a server
// that stalls for two hours costs no time. Certificates of an [Authority] are
// valid there, too.
package smtptest
