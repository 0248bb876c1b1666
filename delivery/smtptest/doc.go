// Package smtptest is for testing programs that send mail. It has SMTP servers that follow
// a script, an Internet of such servers in memory, and checks of what clients send.
//
// # A test
//
//  1. Write each [Host] as a literal. Extensions says what it offers. Script says what
//     goes wrong: each [Cue] acts at one [Stage] of the dialogue.
//  2. Put the hosts into an [Internet] by name, together with zone text that has the
//     addresses of the names, and start it with [Internet.Start]. It is an mx.Resolver,
//     and [Internet.DialContext] connects to its hosts.
//  3. Send mail. Meanwhile you can cut hosts off ([Internet.Cut]) and connect them again
//     ([Internet.Heal]), make links slow, lossy or dead ([Internet.SetLink]), and change
//     DNS ([Internet.DNS]).
//  4. Look at what happened: [Host.Messages], [Host.Received], [Host.Connections],
//     [Host.Commands], [Host.RoundTrips], [Internet.Visits].
//  5. Call [Internet.Check]. For each rule of a standard that the client broke, it reports
//     a test error with the section of the standard ([Violation], [Rules]).
//
// If you need no names: a [Network] has servers by address, [Host.Start] listens on a port
// of 127.0.0.1, and [Host.Serve] serves any connection, such as one end of a [Pipe].
// [NewAuthority] makes certificates.
//
// # A client
//
// Package clienttest tests a mail client in about a hundred small Internets, from SERVFAIL
// at the MX records to a connection lost after the final dot.
//
// # Time
//
// Everything in memory works in a bubble of testing/synctest, where a server that stalls
// for two hours takes no time. Make hosts and networks inside the bubble. There a Host
// knows exactly whether a client waits for its reply. Over other connections it does not
// know, and assumes that the client did, unless Host.Patience says how long to watch.
//
// # Concurrency
//
// Set exported fields before use and do not change them afterwards. All methods are safe
// for concurrent use. Close, and the cleanup of the Start methods, wait for every
// conversation to end.
package smtptest
