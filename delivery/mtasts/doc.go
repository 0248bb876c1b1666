// Package mtasts finds the MTA-STS policies of mail domains (RFC 8461): the names and
// certificates that a domain requires of its mail hosts, as it publishes them over
// HTTPS.
//
//	source := mtasts.Source{Resolver: resolver, Store: &mtasts.Dir{Path: dir}}
//	found := source.Find(ctx, "example.com")
//	if err := found.JudgeName(host.Name).Err(); err != nil {
//		... // try the next host: the policy does not name this one
//	}
//	... // connect, STARTTLS with host.Name
//	verdict := found.Judge(host.Name, mtasts.Session{Offered: true, Chain: state.PeerCertificates}, nil, time.Now())
//	if err := verdict.Err(); err != nil {
//		... // likewise: QUIT, and the next host
//	}
//
// # What Find does
//
// [Source.Find] is called at each attempt to deliver. It works in these steps:
//
//  1. It reads the TXT record at _mta-sts.DOMAIN ([ParseRecord]), whose id shows
//     whether the policy has changed. It never asks for the record of a parent domain.
//  2. It uses the stored policy if that is in force and has the same id, or if there is
//     no record or no answer: removing the record does not end a policy.
//  3. Otherwise it fetches the policy ([Fetcher]) from https://mta-sts.DOMAIN: at most
//     64 KiB in one minute, without redirects, with a certificate for exactly that
//     name, as text/plain, and never from an address in a private network. It parses
//     the policy ([ParsePolicy]) and stores it.
//  4. If that fails, the stored policy stays in force until it expires. Without one,
//     mail is sent as if there were no MTA-STS, and [Found] has the error, with its
//     result type for reports (RFC 8460 section 4.3.2).
//  5. If the store cannot say whether a policy is in force, and none was fetched, it is
//     not known whether mail may be sent ([Found].Unread): it must wait.
//
// After a failed fetch there is no other for five minutes unless the id changes.
// Simultaneous callers that need the same policy share one fetch.
//
// [Source.Recheck] fetches the policy again even if it is stored, because a newer
// policy must be used before mail fails permanently (RFC 8461 section 5.1).
// [Source.Run] renews stored policies before they expire, so that an attacker cannot
// end one by holding up mail.
//
// # Policies
//
// [Policy.Matches] compares a pattern with the name of a host in its MX record, not
// with the target of an alias. A policy that does not follow the grammar is refused as
// a whole, except for deviations that have only one possible meaning; docs/leniency.md
// in the repository lists these, and [Policy].Notes describes those that were found.
//
// # Verdicts
//
// [Found.Judge] compares a connection with the policy and returns a [Verdict]: whether
// the policy names the host, whether the host has authenticated itself under that name,
// and if not, why, with the result type for reports. In mode testing the verdict is the
// same, but no host is refused.
//
// # Errors
//
// An error in a policy is an *[Error], and a host that does not satisfy one is a
// *[HostError]; both have the result type for reports. Find returns no error, because
// mail is not held back if there is no policy. Only what is stored must be known: see
// Unread of [Found].
//
// # Concurrency
//
// A Source, a Memory and a Dir are safe for concurrent use once their fields are set,
// and must not be copied. No call leaves a goroutine behind.
package mtasts
