// Package smtptest is for testing programs that send mail: SMTP servers that do
// what they are told, an Internet of them in memory, and a judge of what
// clients say.
//
// # A test
//
//  1. Write each [Host] as a literal: its Extensions, and in its Script what is
//     to go wrong, each [Cue] at one [Stage] of the dialogue.
//  2. Put the hosts into an [Internet] by name, beside the zone text that gives
//     the names their addresses, and start it with [Internet.Start]. It is an
//     mx.Resolver, and [Internet.DialContext] connects.
//  3. Send mail. Meanwhile cut hosts off and heal them ([Internet.Cut]), make
//     links slow, lossy or dead ([Internet.SetLink]), change DNS
//     ([Internet.DNS]).
//  4. Look at what arrived and at how it went: [Host.Messages],
//     [Host.Received], [Host.Connections], [Host.Commands], [Host.RoundTrips],
//     [Internet.Visits].
//  5. Call [Internet.Check]: each rule of a standard that the client broke is
//     an error of the test, with the section where it stands ([Violation],
//     [Rules]).
//
// Where no names are needed, a [Network] has servers by address, [Host.Start]
// listens on a port of 127.0.0.1, and [Host.Serve] takes any connection, such as
// one end of a [Pipe]. [NewAuthority] makes certificates.
//
// # A client
//
// [Run] tries a mail client in every [Scenario] there is: some hundred small
// Internets, each with one thing to get right, from SERVFAIL at the MX records
// to a connection lost after the final dot.
//
// # Time
//
// Everything in memory works in a bubble of testing/synctest, where a server
// that stalls for two hours costs no time: make hosts and networks inside the
// bubble. In it, a Host knows exactly whether a client waits for its reply; over
// other connections it gives the client the benefit of the doubt, unless
// Host.Patience says how long to look.
//
// # Concurrency
//
// Exported fields are set before use and left alone afterwards. All methods are
// safe for concurrent use. Whoever starts something ends it: Close and the
// Start methods' cleanup wait for every conversation.
package smtptest
