// Package mx answers one question: where does mail for this domain go?
//
// One call in, hosts in the order to try them out:
//
//	resolver, err := mx.System()
//	...
//	router := mx.Router{Resolver: &mx.Cache{Resolver: resolver}}
//	route, err := router.Route(ctx, "example.com")
//
// [Lookup] is the same in one line, for a program that asks once.
//
// # What Route does
//
// [Router.Route] finds a route in these steps, RFC 5321 section 5.1 with what has
// been added to it since:
//
//  1. The domain is brought into canonical form: A-labels, lower case, no final
//     dot. What is no domain fails here with [BadDomain], before any question.
//     An address literal is its own route ([ViaLiteral]) and DNS is not asked.
//  2. The MX records are asked for by [Follow], which follows aliases of the
//     domain, eight at most, and asks again if a response carries the alias
//     alone. No answer at all is [DNSTrouble] or [BogusAnswer], never "no
//     records"; a name that does not exist is [NoSuchDomain].
//  3. Without MX records the domain is its own and only exchanger
//     ([ViaImplicit]). With a null MX it takes no mail ([NullMX], RFC 7505); a
//     null MX beside others is left out. While there is an MX record the
//     domain's own address is never asked for.
//  4. The records are sorted by preference. Equals are shuffled without bias,
//     afresh in each call; Router.Rand replaces the source of randomness.
//  5. This host is looked for by name ([Router].Self) among all records. Its
//     preference and everything worse is left out.
//  6. At most MaxHosts are picked, one of each preference before a second of
//     any.
//  7. Their addresses are asked for, A and AAAA of all hosts in parallel, and
//     their aliases followed. A host is never asked for its own MX records. If the
//     MX set is secure and a host is an alias that is not secure to its end, the
//     alias is asked about by itself (RFC 7672 section 2.2.2). If that fails, the
//     host is left out as if its addresses were not known.
//  8. This host is looked for by address: SelfAddrs, in the relay role the
//     interfaces, and loopback unless it is allowed. Its preference and
//     everything worse is left out, whether or not a worse host looks better in
//     other ways.
//  9. Hosts without an address that may be dialled ([Router.Permits]) are left
//     out. The others keep MaxAddrsPerHost addresses, MaxAddrs in all, both
//     families if both are there, in the resolver's order within a family.
//
// What was left out stands in [Route].LeftOut with a [Reason]. If nothing
// remains, the [Error] says which of the [Outcome] values it is: this host is
// the best there is ([MailLoop]), a host that might be of use has no answer for
// now ([DNSTrouble]), or DNS firmly says that there is none ([NoUsableHost],
// [NoMailHost]).
//
// A route is good for one attempt to deliver: the next asks again, within the
// TTLs a Cache keeps.
//
// [Router.Addresses] is steps 7 and 9 for a host that the operator named, which is
// looked for where other programs on this machine look ([HostLookup]): in the hosts
// file, then in DNS, and a name without a dot by the search list. [Router.DNSAddresses]
// is the same for a host that DNS has named: DNS alone.
//
// # DNS
//
// [Resolver] is one method. [Client] is the real one, on UDP with EDNS0 and TCP, and
// without what a server or the path to it cannot do (docs/dns.md has the table);
// [System] makes one from /etc/resolv.conf, which is read again when it changes.
// [Cache] remembers the answers of any other, true to their TTLs. [FromNet] adapts a
// *net.Resolver, which knows less. [Probe] says whether DNS works at all. [Trace] has
// hooks for what people should know.
//
// An [Answer] says whether DNSSEC vouches for it. A Client believes that of a
// server whose [Server].TrustAD is set, and of no other. Of an alias, a name and an
// address it is known or not ([Security]): what could not be found out is never
// taken for what is not signed.
//
// # Errors
//
// Route, Addresses and Lookup return an *[Error], which says whether to try
// again and carries the status codes for a bounce. A Resolver's errors are
// *[ResolveError]; all of them are temporary. An Error wraps the ResolveError
// that decided, and that one its cause: errors.Is finds context.Canceled.
//
// # Concurrency
//
// Router, Client and Cache are safe for concurrent use once their fields are
// set, and must not be copied after their first use. No call leaves a goroutine
// behind. The slices in a Route may be changed by who asked for it; those in an
// Answer may not.
//
// # Tests
//
// Package mxtest has a fake Resolver and a DNS server on loopback, both from zone
// text as an operator writes it, with faults on demand.
package mx
