// Package mxtest provides DNS for tests. The records are zone text as an operator writes
// it. A fake resolver or a real server on loopback answers from them, with faults on
// demand.
//
//	dns := &mxtest.DNS{
//		Zone: `
//			$ORIGIN example.com.
//			@      MX   10 mail
//			@      MX   20 backup.example.net.
//			mail   A    192.0.2.25
//
//			$ORIGIN example.net.
//			backup AAAA 2001:db8::25`,
//		Rules: []mxtest.Rule{
//			{Name: "mail.example.com", Fault: mxtest.ServFail},
//		},
//	}
//	route, err := mx.Lookup(ctx, dns, "example.com")
//
// # Three ways to ask
//
//   - A *[DNS] is an mx.Resolver. It opens no socket and starts no goroutine, so it works
//     inside a testing/synctest bubble, and its delays take no time there.
//   - [DNS.Dial] is a value for the Dial field of an mx.Client. The client then writes and
//     reads real DNS messages over connections in memory, which also work in a bubble.
//   - A [Server] answers on loopback, over UDP and TCP.
//
// All three give the same answers.
//
// # What is answered
//
// The answers are those of a recursive resolver. Aliases (CNAME, DNAME) are followed
// across all zones. Wildcards are expanded (RFC 4592). A name without records exists if
// there are names below it (RFC 8020). A name outside all zones does not exist. A negative
// answer has the SOA record of the closest zone that has one. Records are in the order of
// the zone text.
//
// Answers about names in [DNS].Signed count as validated. The fake resolver marks them
// Secure, and on the wire they have the AD bit if the query asks for it (RFC 6840 sections
// 5.7 and 5.8).
//
// # What goes wrong
//
// A [Rule] applies to a name, a type, or everything, always or only the first few times.
// It sets one of the [Fault] values, a delay, or other records. Between two attempts, a
// test can change the answers: [DNS.Set] adds a rule, and [DNS.SetZone] replaces the
// records.
//
// # What was asked
//
// [DNS.Queries] lists every question with its transport, flags and EDNS size. [DNS.Count]
// counts the questions for one name and type.
//
// # Mistakes in a test
//
// If the zone text cannot be read, [DNS.Validate], [Server.Start] and every question
// return a *[SyntaxError] with the line, so that no test passes because its zone was not
// read. The fake resolver refuses a name that is not canonical, as mx.Resolver requires; a
// server accepts it.
package mxtest
