// Package mx finds the hosts that accept mail for a domain, in the order in which a
// sender should try them:
//
//	resolver, err := mx.System()
//	...
//	router := mx.Router{Resolver: &mx.Cache{Resolver: resolver}}
//	route, err := router.Route(ctx, "example.com")
//
// [Lookup] does the same in one call, for a program that asks once.
//
// # What Route does
//
// [Router.Route] finds a route in these steps. They follow RFC 5321 section 5.1 and what
// later RFCs added to it:
//
//  1. It brings the domain into canonical form: A-labels, lower case, no final dot. If
//     this is not possible, it fails with [BadDomain] and asks nothing. An address
//     literal is its own route ([ViaLiteral]), and DNS is not asked.
//  2. It asks for the MX records with [Follow], which follows at most sixteen aliases of
//     the domain and asks again if a response contains only the alias. If there is no
//     answer, the error is of the kind [DNSTrouble] or [BogusAnswer], never "no records". If the
//     name does not exist, it is [NoSuchDomain].
//  3. If there is no MX record, the domain itself is the only host ([ViaImplicit]). A
//     domain with a null MX accepts no mail ([NullMX], RFC 7505). A null MX among other
//     records is left out. If there is an MX record, the addresses of the domain itself
//     are never asked for.
//  4. It sorts the records by preference. Records of equal preference are shuffled
//     without bias in each call. Router.Rand replaces the source of randomness.
//  5. It looks for this host by name ([Router].Self) among all records. If it is there,
//     all records of its preference and higher are left out.
//  6. It picks at most MaxHosts hosts: one of each preference before a second of any.
//  7. It asks for their addresses, A and AAAA of all hosts in parallel, and follows
//     their aliases. MX records of a host are never asked for. If the MX set is secure and
//     a host is an alias that is not secure to its end, it asks about the alias itself
//     (RFC 7672 section 2.2.2). If that fails, the host is left out as if its addresses
//     were not known.
//  8. It looks for this host by address: SelfAddrs, in the relay role the addresses of
//     the interfaces, and loopback addresses unless they are allowed. If it is there, all
//     hosts of its preference and higher are left out.
//  9. It leaves out hosts without an address that may be dialled ([Router.Permits]). The
//     others keep MaxAddrsPerHost addresses, MaxAddrs in all, of both families if there
//     are both, in the resolver's order within a family.
//
// [Route].LeftOut lists what was left out, each with a [Reason]. If no host remains, the
// [ErrorKind] in the [Error] says why: this host is the best one ([MailLoop]), a host that
// might be usable could not be looked up ([DNSTrouble]), or there certainly is none
// ([NoUsableHost], [NoMailHost]).
//
// A route is for one delivery attempt. The next attempt asks again; a Cache answers within
// the TTLs.
//
// [Router.Addresses] does steps 7 and 9 for a host that the operator named. It looks where
// other programs on this machine look ([HostLookup]): in the hosts file, then in DNS, and
// with the search list for a name without a dot. [Router.DNSAddresses] does the same for a
// host that DNS has named, with DNS alone.
//
// # DNS
//
// [Resolver] is an interface with one method. [Client] asks DNS servers, by UDP with EDNS0
// and by TCP, and copes with servers and networks that lack one of these (docs/dns.md).
// [System] returns a Client for /etc/resolv.conf, which is read again when it changes.
// [Cache] keeps the answers of another Resolver for their TTLs. [FromNet] adapts a
// *net.Resolver, which learns less. [Probe] says whether DNS works at all. [Trace] has
// hooks for logging.
//
// An [Answer] says whether DNSSEC has authenticated it. A Client believes this only of a
// server whose [Server].TrustAD is set. For an alias, a name and an address, [Security] is
// secure, insecure or unknown. If a lookup fails, it is unknown, never insecure.
//
// # Errors
//
// Route, Addresses and Lookup return an *[Error], which says whether to try again and has
// the status code for a bounce. A Resolver returns *[ResolveError]; all of these are
// temporary. An Error wraps the ResolveError that decided, and that wraps its cause, so
// errors.Is finds context.Canceled.
//
// # Concurrency
//
// Router, Client and Cache are safe for concurrent use once their fields are set, and must
// not be copied after their first use. No call leaves a goroutine behind. The caller may
// change the slices in a Route, but not those in an Answer.
//
// # Tests
//
// Package mxtest has a fake Resolver and a DNS server on loopback. Both serve zone text as
// operators write it, with faults on demand.
package mx
