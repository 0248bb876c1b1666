// Package smarthost routes mail to hosts that the operator names, instead of the MX hosts
// of a domain: submission servers with a login, next hops for some recipients or senders,
// and a fallback for when every MX host is down.
//
// A [Table] is a Router for delivery.Sender. This sends all mail through one submission
// server:
//
//	table, err := smarthost.Via("submission://alice:secret@mail.example.com")
//	...
//	sender := &delivery.Sender{Router: table}
//
// Everything else is set by [Rules]. [Table.Set] puts them in force, at any time and for
// all mail at once:
//
//	err = table.Set(smarthost.Rules{
//		Default: []smarthost.Host{relay, backup},
//		Special: []smarthost.Rule{
//			{To: "example.net", MX: true},                           // back to MX records
//			{To: ".lab.example", Hosts: []smarthost.Host{lab}},      // every subdomain
//			{From: "news@example.org", Hosts: []smarthost.Host{bulk}}, // by sender
//		},
//		Fallback: []smarthost.Host{lastResort},
//	})
//
// Fill in a [Host] yourself, or let [Parse] read it from a URL, or from the notation of
// Postfix or sendmail.
//
// # Which rule
//
// The most specific rule that matches wins. The recipient's domain counts before the
// sender:
//
//  1. A rule whose To is the recipient's domain.
//  2. A rule whose To is a parent domain of it, the longest first.
//  3. A rule for any recipient, by sender (below).
//  4. Rules.Default, or MX records if it is empty.
//
// Among rules with the same To, one whose From is the sender's address comes first, then
// one for its domain, then one for a parent domain of that, the longest first, then one
// for any sender. If From does not match, the rule is skipped, and the next less specific
// To is considered.
//
// Rules also apply to address literals and to domains that accept no mail: the smart host
// decides about them. Anything that is not a domain is refused before.
//
// # What Route does
//
//  1. It chooses the rule. If the rule says MX, the Router is asked as if there were no
//     Table. Rules.Fallback is added to the route, for when every host has failed
//     temporarily. It is not added if this host was left out of the route: an MX host of
//     the domain must not pass its mail on past its own place in the order.
//  2. It puts the rule's hosts in order. A host without a [Preference] keeps its place in
//     the list. The others share the remaining places, the lowest first, and equals at
//     random for each message.
//  3. It looks up each host as its [Lookup] says: by address, by MX records, or by SRV
//     records. By address, it looks where other programs on this machine do: in the hosts
//     file, and with the search list for a name without a dot (mx.HostLookup). Names in MX
//     and SRV records are looked up in DNS alone.
//  4. It leaves out this host, by name and by address, at the ports where it accepts mail
//     (mx.Router.IsSelf); another server on this machine may be a next hop. MX records of
//     the recipient's domain do not matter here. If no other host remains, it is a mail
//     loop.
//  5. It leaves out hosts that cannot be looked up. If a smart host has no address, that is
//     a mistake in the configuration, and mail waits until it is corrected.
//
// A host that the operator named may be on loopback or in a private network, because a
// proxy often is. Hosts that MX and SRV records name must pass mx.Router.Permits.
//
// # Names in certificates
//
// With a Login, the certificate must be for the name that the operator wrote. A name found
// in DNS counts only if DNSSEC has authenticated the records (RFC 7817 section 3). With MX
// or SRV records the name is the domain, and for SRV also the SRV-ID made from it (RFC
// 4985).
//
// # SRV records
//
// With SRV records (RFC 6186, RFC 8314 section 5.1), "_submissions._tcp" of the domain is
// asked for first, and "_submission._tcp" only if the domain does not offer that. Targets
// are ordered by priority, and at random by weight. A target outside the domain is refused
// unless DNSSEC has authenticated it or Host.Targets names it. The targets are kept until
// one of them cannot be reached; if DNSSEC has authenticated them, at most for their TTL.
//
// # Errors
//
// Parse and the other functions that read notations return an *[Error], which never
// contains a secret. Table.Route returns an *mx.Error, as mx.Router does. Except for a mail
// loop, every error about a smart host is temporary.
//
// # Concurrency
//
// A Table is safe for concurrent use once its fields are set, Set included. Hosts
// and Rules are values; a Login is shared, and must not be changed.
package smarthost
