// Package tlsrpt counts what became of TLS with the hosts of each domain, and sends the
// domains that ask for them the reports of RFC 8460.
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
// [Counts.Add] counts one session under the day, the recipient domain and the policy that
// it was held to, with its [Failure]s if there are any. For a success that is an increment.
// Each failure has a [Result], whose words are those of RFC 8460 section 4.3. The numbers
// can be read at any time ([Counts.Tallies]). What strangers can make it hold is bounded;
// what has no room is still counted, in less detail.
//
// # What Run does
//
// [Reporter.Run] goes by these steps:
//
//  1. Every minute it saves what was counted in the Store. A kill loses what is not saved;
//     a restart loses nothing.
//  2. Ten minutes after midnight, UTC, when all have saved, it joins the numbers of all who
//     share the Store ([Counts.Merge]). The report of each domain has its own time in the
//     four hours that follow. What is saved later is in no report.
//  3. At that time it asks for the domain's record at _smtp._tls ([Lookup]). Most domains
//     have none, and that is all.
//  4. It claims the report in the Store: of all who share it, one sends the report.
//  5. It makes the [Report] and sends it to each of the record's targets: by mail through
//     a [Mailer], with the header field TLS-Required: No, and over HTTPS by a [Poster],
//     which connects to addresses of the public Internet alone.
//  6. What a target does not take is tried again after 10 minutes, 20, 40 and so on, for 24
//     hours, until one target of each kind has taken it. How far it has come is in the
//     Store, so that whoever comes after a restart goes on there.
//
// Nobody is sent the same report twice unless a process dies, or the Store fails, between
// the sending and the note of it in the Store. The report then has the same id, by which
// receivers know it; by mail, the queue knows it by its Key.
//
// # Reports by mail
//
// Reports must be signed with DKIM, by the domain of Contact, over the whole content (no
// l=); receivers ignore others. It is the Sign hook of an Agent that signs them: a message
// that is a report has [Purpose] at [PurposeKey] in its metadata. The key should have
// s=tlsrpt, or s=* which is the default, in its DNS record. The fields TLS-Report-Domain
// and TLS-Report-Submitter should be signed, too.
//
// The message has queue.TLSOptional: no policy of the receiver's holds it up, and since no
// policy is asked, the session is in no report. Nobody reports on reports.
//
// # Reading reports
//
// [ParseReport] reads reports as senders make them, and [ParseRecord] records as domains
// publish them; docs/leniency.md in the repository has what is taken.
//
// # Errors
//
// Why a domain gets no report is a *[RecordError], and a host that answers and does not
// take one is a *[StatusError]. Run itself ends with its context alone; the hooks of a
// [Trace] tell what fails meanwhile.
//
// # Concurrency
//
// Counts, Reporter, Poster, Memory and Dir are safe for concurrent use once their fields
// are set, and must not be copied. Run owns its goroutines, and returns when they have
// ended.
package tlsrpt
