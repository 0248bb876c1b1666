// Package mtasts finds the MTA-STS policies of mail domains (RFC 8461): what a domain says,
// over HTTPS, about the names and the certificates of its mail hosts.
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
// [Source.Find] is asked at each attempt to deliver. It goes by these steps:
//
//  1. The TXT record at _mta-sts.DOMAIN is looked at ([ParseRecord]): its id tells whether
//     the policy has changed. A domain's parent is never asked.
//  2. The policy that the Store has is used if it is in force and its id is that one, or
//     if there is no record, or no answer: a record that has gone away ends nothing.
//  3. Else the policy is fetched ([Fetcher]) from https://mta-sts.DOMAIN: 64 KiB and one
//     minute at most, no redirects, a certificate of that very name, text/plain, and from
//     no address inside one's own network. It is read by [ParsePolicy] and stored.
//  4. If that fails, the policy of the Store stays in force until it expires. Without one,
//     mail is sent as if there were no MTA-STS, and [Found] says what failed, with the
//     result type that reports have for it (RFC 8460 section 4.3.2).
//
// A fetch that failed is not tried again for five minutes unless the id changes. Those who
// need the same policy at the same time share one fetch.
//
// [Source.Recheck] asks once more, past what is stored: before mail fails for good because
// of a policy, a newer one counts (RFC 8461 section 5.1). [Source.Run] fetches the policies
// of the Store again before they expire, so that nobody can end one by keeping mail away.
//
// # Policies
//
// [Policy.Matches] compares a pattern with the name of a host as its MX record has it, not
// with what that is an alias of. Policies that do not follow the grammar are refused whole,
// except in what cannot be misunderstood; docs/leniency.md in the repository has the list,
// and [Policy].Notes says what was found.
//
// # Verdicts
//
// [Found.Judge] takes what a connection has shown and makes a [Verdict] of it: whether the
// policy names the host, whether the host has proved to be that one, and if not, why, with
// its result type for reports. In mode testing it says the same and refuses nothing.
//
// # Errors
//
// What is wrong with a policy is an *[Error], and what is wrong with a host a *[HostError],
// both with the result type of reports. Find has no error: that there is no policy is no
// reason to keep mail.
//
// # Concurrency
//
// A Source, a Memory and a Dir are safe for concurrent use once their fields are set, and
// must not be copied. No call leaves a goroutine behind.
package mtasts
