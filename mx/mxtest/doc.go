// Package mxtest is DNS for tests: records written as an operator writes them,
// answered by a fake resolver or by a real server on loopback, and everything
// that goes wrong with DNS, on demand.
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
//   - A *[DNS] is an mx.Resolver. It opens no socket and starts no goroutine, so
//     it works inside a testing/synctest bubble, where its delays cost nothing.
//   - [DNS.Dial] goes into the Dial field of an mx.Client: the client then packs
//     and reads real messages over connections in memory, in a bubble too.
//   - A [Server] answers on loopback, over UDP and TCP.
//
// All three answer from the same records by the same rules, so that what holds
// for one holds for the others.
//
// # What is answered
//
// The answers are a recursive resolver's. Aliases (CNAME, DNAME) are followed
// across all zones, wildcards are expanded (RFC 4592), and a name without
// records that has names below it exists (RFC 8020). A name in no zone does not
// exist. An absence comes with the SOA record of the closest zone that has one,
// and without any where none has. Responses keep the order of the zone text.
//
// Answers about names in [DNS].Signed count as validated: the fake marks them
// Secure, and on the wire they have the AD bit where the query asks for it (RFC
// 6840 sections 5.7 and 5.8).
//
// # What goes wrong
//
// A [Rule] gives a name, a type, or everything one of the [Fault] values, a
// delay, or other records, always or the first few times. [DNS.Set] adds rules
// while queries come in, and [DNS.SetZone] replaces the records: a test changes
// what DNS says between two attempts.
//
// # What was asked
//
// [DNS.Queries] lists every question with its transport, flags and EDNS size,
// and [DNS.Count] counts those of one name and type.
//
// # Mistakes in a test
//
// Zone text that cannot be read is a *[SyntaxError] with its line, from
// [DNS.Validate], from [Server.Start], and in every answer: no test passes
// because its zone was not read. The fake refuses a name that is not canonical,
// which a server would accept, because callers owe it one.
package mxtest
