// Package smarthost says where mail goes whatever DNS thinks of it: next hops that
// override MX records, who to log in as there, and what to turn to when every MX
// host is down.
//
// A [Table] is a Router for delivery.Sender. All mail through one submission server
// is one line:
//
//	table, err := smarthost.Via("submission://alice:secret@mail.example.com")
//	...
//	sender := &delivery.Sender{Router: table}
//
// Everything else is a value of [Rules], which [Table.Set] puts in force, at any
// time and for all mail at once:
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
// A [Host] is a struct to fill in, or what [Parse] makes of a URL, of Postfix's
// notation, or of sendmail's.
//
// # Which rule
//
// The most specific rule that fits wins, and where mail goes counts before whom it
// comes from:
//
//  1. To the recipient's domain itself.
//  2. To the domain it is a subdomain of, the longest first.
//  3. To any domain, by sender (below).
//  4. Rules.Default; MX records if there is none.
//
// Among rules with the same To: From the sender's address, then from its domain,
// then from the domain that is a subdomain of, the longest first, then from
// anybody. A rule whose From does not fit is passed over, and the next less
// specific To is looked at.
//
// A rule holds for address literals and for domains that take no mail, too: the
// smart host decides about them. Anything that is no domain is refused before.
//
// # What Route does
//
//  1. The rule is chosen. If it says MX, the Router is asked as if there were no
//     Table; Rules.Fallback goes along, to be used when every host has failed for
//     now. It does not if this host was left out: an MX of the domain must not pass
//     its mail to others around its own place in the order.
//  2. The rule's hosts are put in order. One without a [Preference] keeps its place
//     in the list; the others share the remaining places, the lowest first and
//     equals at random, afresh for each message.
//  3. Each is looked up as its [Lookup] says: by address, by MX records, or by SRV
//     records. By address it is found where other programs on this machine find it,
//     in the hosts file and with the search list for a name without a dot
//     (mx.HostLookup); what MX and SRV records name is looked for in DNS alone.
//  4. This host is left out, by name and by address, at the ports where it takes mail
//     (mx.Router.IsSelf): another server on this machine may be a next hop. Own-host
//     removal for the recipient's domain plays no part: a smart host that was named
//     is meant. If no other host remains, it is a mail loop.
//  5. Hosts that cannot be looked up are left out for now. A smart host without an
//     address is a mistake to be mended, and mail waits for that.
//
// A host that was named by its name or address may be on loopback or in a private
// network, where a proxy often is. The hosts that MX and SRV records lead to are held
// against mx.Router.Permits.
//
// # Names in certificates
//
// With a Login the certificate must bear the name that the operator wrote. A name
// that DNS gave in exchange for it counts only if DNSSEC vouches for the records
// (RFC 7817 section 3): with MX or SRV records, the domain does, and for SRV the
// SRV-ID made of it (RFC 4985).
//
// # SRV records
//
// By SRV (RFC 6186, RFC 8314 section 5.1), "_submissions._tcp" of the domain is asked
// for, and "_submission._tcp" only if the domain has none or says that it is not
// offered. Targets are ordered by priority, and by weight at random. One outside
// the domain is refused unless DNSSEC vouches for it or Host.Targets names it. The
// targets are kept until one of them cannot be reached, and, if DNSSEC vouches for
// them, no longer than their TTL.
//
// # Errors
//
// Parse and the other functions about notation return an *[Error], which never
// contains a secret. Table.Route returns an *mx.Error as mx.Router does; it is
// temporary for whatever may be wrong with a smart host except a mail loop.
//
// # Concurrency
//
// A Table is safe for concurrent use once its fields are set, Set included. Hosts
// and Rules are values; a Login is shared, and must not be changed.
package smarthost
