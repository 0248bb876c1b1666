// Package tlsrpt counts the results of TLS sessions with the hosts of each domain, and
// sends the reports of RFC 8460 to the domains that ask for them.
//
//	var counts tlsrpt.Counts
//	sender := &delivery.Sender{
//		Policy: &trust.Source{Resolver: resolver},
//		Trace:  &delivery.Trace{Decided: func(d *delivery.Decision) { d.Count(&counts) }},
//	}
//	agent := &delivery.Agent{Queue: q, Sender: sender, Sign: sign}
//	reporter := &tlsrpt.Reporter{
//		Counts: &counts, Submitter: tlsrpt.Submitter{Organization: "Example", Contact: "tls-reports@example.org"},
//		Resolver: resolver, Store: &tlsrpt.Dir{Path: dir}, Mail: agent,
//	}
//	go agent.Run(ctx)
//	go reporter.Run(ctx)
//
// # What Counts does
//
// [Counts.Add] counts one session under the day, the recipient domain and the policy
// that was applied, with its [Failure]s if there are any. Each failure has a [Result],
// named as in RFC 8460 section 4.3. The numbers can be read at any time
// ([Counts.Tallies]). The memory that strangers can make it use is limited; when the
// limit is reached, sessions are counted in less detail.
//
// # What Run does
//
// [Reporter.Run] works in these steps:
//
//  1. Every minute it saves the counts in the Store. If the process is killed, the
//     unsaved counts are lost; an orderly restart loses nothing.
//  2. Ten minutes after midnight, UTC, when all processes have saved, it adds up the
//     counts of all that share the Store ([Counts.Merge]). The report of each domain
//     has its own time in the four hours that follow. Counts saved later are in no
//     report.
//  3. At that time it asks for the domain's record at _smtp._tls ([Lookup]). Most
//     domains have none, and get no report.
//  4. It claims the report in the Store. Of all processes that share the Store, one
//     sends the report.
//  5. It makes the [Report] and sends it to each of the record's targets: by mail
//     through a [Mailer], with the header field TLS-Required: No, and over HTTPS by a
//     [Poster], which only connects to public addresses.
//  6. If a target does not accept the report, it is tried again after 10 minutes, 20,
//     40 and so on, for 24 hours, until one target of each kind has accepted it. The
//     progress is in the Store, so that another process, or this one after a restart,
//     continues there.
//
// A report is sent to a target only once, unless a process dies or the Store fails
// between sending it and recording that. The second copy then has the same id, so that
// receivers recognise it. For reports by mail, the queue recognises the Key.
//
// # Reports by mail
//
// Reports must be signed with DKIM, by the domain of Contact, over the whole content
// (no l=); receivers ignore others. The Sign hook of an Agent signs them: the message
// of a report has [Purpose] at [PurposeKey] in its metadata. The key should have
// s=tlsrpt in its DNS record, or s=*, which is the default. The fields
// TLS-Report-Domain and TLS-Report-Submitter should be signed, too.
//
// The message has queue.TLSOptional: no policy of the receiver delays it. Since no
// policy is applied, its session is not counted, and there are no reports about
// reports.
//
// # Reading reports
//
// [ParseReport] reads reports in the forms that senders use, and [ParseRecord] records
// in the forms that domains use; docs/leniency.md in the repository lists them.
//
// # Errors
//
// If a domain gets no report, the error is a *[RecordError]. If a host answers and does
// not accept one, it is a *[StatusError]. Run itself returns only when its context
// ends; the hooks of a [Trace] report other errors.
//
// # Concurrency
//
// Counts, Reporter, Poster, Memory and Dir are safe for concurrent use once their
// fields are set, and must not be copied. Run owns its goroutines, and returns when
// they have ended.
package tlsrpt
