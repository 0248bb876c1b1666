// Package dane decides whether a mail host can be authenticated by TLSA records that
// DNSSEC protects (RFC 6698, RFC 7671, and RFC 7672 for SMTP).
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
// [Source.Find] is called for a host whose addresses are known. It decides in these
// steps, and records each question in [Policy].Steps:
//
//  1. A host without a name has no TLSA records ([NoName]).
//  2. If insecure MX records name the host, its records prove nothing about the domain,
//     and are not looked up ([InsecureMX]) unless the field InsecureMX of the Source is
//     set.
//  3. The addresses of the host must be secure. Otherwise no TLSA records are looked up
//     ([InsecureAddress]), because servers of unsigned zones may not know the type. If
//     the host is an alias, the alias itself may be secure even if its target is not.
//  4. The records of _port._tcp are looked up at the name after all aliases, if these
//     are all secure, and then at the name of the host. The first secure set counts,
//     and the name where it was found is the base domain (RFC 7672 sections 2.2.2 and
//     2.2.3).
//  5. Each record of the set is usable or not ([Record], [Fate]). Of several digests
//     with the same usage and selector, only the strongest counts (RFC 7671 section 9).
//
// There are four outcomes ([Outcome]): records that can authenticate the host
// ([Usable]); secure records without a usable one, which require TLS ([Unusable]); no
// records that count ([None]); and no answer for now ([Failed]). After Failed nothing
// is sent to the host, since an attacker who can make a question fail must not be able
// to remove the records.
//
// # What Judge does
//
// [Policy.Judge] compares a connection with the records. A record of usage DANE-EE is
// about the certificate of the host only; the names, dates and issuer of the
// certificate do not matter. A record of usage DANE-TA is about an authority: the chain
// that the host has sent must lead to it, or the end of the chain must be signed by its
// key. Here dates and constraints must be valid, and the certificate must have one of
// [Policy].Names. The system's roots are not used.
//
// A [Verdict] is a value that explains itself: it has the policy with all questions,
// the fate of each record, the certificates with their names and dates, and the reason
// with its result type for reports (RFC 8460 section 4.3). This package enforces
// nothing, so a program can also just report its verdicts.
//
// # Errors
//
// [Policy.Err] and [Verdict.Err] return an *[Error], which is always temporary.
//
// # Concurrency
//
// A Source is safe for concurrent use once its fields are set. So are the methods of a
// Policy, which do not change it.
package dane
