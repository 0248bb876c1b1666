// Package dane says whether a mail host may be trusted by what its domain publishes in
// DNS: TLSA records that DNSSEC vouches for (RFC 6698, RFC 7671, and RFC 7672 for SMTP).
//
//	source := dane.Source{Resolver: resolver}
//	policy := source.Find(ctx, &route, &route.Hosts[0])
//	if err := policy.Err(); err != nil {
//		... // try the next host: nothing may be sent to this one for now
//	}
//	... // connect, STARTTLS with policy.ServerName()
//	verdict := policy.Judge(dane.Session{Offered: true, Chain: state.PeerCertificates}, time.Now())
//	if err := verdict.Err(); err != nil {
//		... // likewise: QUIT, and the next host
//	}
//
// # What Find does
//
// [Source.Find] is asked about a host whose addresses are known. It decides in these
// steps, of which each question is kept in [Policy].Steps:
//
//  1. A host without a name has no TLSA records ([NoName]).
//  2. A host that insecure MX records name is nobody's in particular ([InsecureMX]); the
//     field InsecureMX of a Source has its records looked for all the same.
//  3. The addresses of the host must be secure, else nobody asks for TLSA records
//     ([InsecureAddress]): servers of unsigned zones may not know the type. If the host is
//     an alias, the alias itself may be secure though its target is not.
//  4. The records of _port._tcp are asked for at the name after all aliases, if they are
//     all secure, and then at the name of the host. The first secure set counts, and the
//     name where it was found is the base domain (RFC 7672 sections 2.2.2 and 2.2.3).
//  5. Each record of the set is usable or not, one by one ([Record], [Fate]); of digests
//     by one usage and selector, the strongest counts (RFC 7671 section 9).
//
// There are four outcomes ([Outcome]): records to be authenticated by ([Usable]); secure
// records of which none is usable, so that there must be TLS ([Unusable]); none that
// count ([None]); and no answer for now ([Failed]): then the host is left alone, since
// who can make a question fail must not be able to take the records away.
//
// # What Judge does
//
// [Policy.Judge] takes what a connection has shown. A record of usage DANE-EE is about
// the certificate of the host alone: its names, dates and issuer do not matter. One of
// usage DANE-TA is about an authority that the chain which the host has sent must lead
// to, or whose key has signed the end of that chain; dates, constraints and one of
// [Policy].Names must fit. The system's roots play no part.
//
// A [Verdict] is a value that explains itself: it has the policy with all questions, the
// fate of each record, the certificates with their names and dates, and the reason with
// its result type for reports (RFC 8460 section 4.3). It is made whether or not anybody
// goes by it, so that a check without consequences is a verdict that is only reported.
//
// # Errors
//
// [Policy.Err] and [Verdict.Err] are *[Error], and always temporary.
//
// # Concurrency
//
// A Source is safe for concurrent use once its fields are set. So are the methods of a
// Policy, which changes nothing.
package dane
