// Package tlsstore keeps what agents know together about TLS in the schema of their queue
// in PostgreSQL: Policies is a store of MTA-STS policies (mtasts.Store), and Reports one of
// the counts of RFC 8460 and of how far reports have come (tlsrpt.Store).
//
//	source := &trust.Source{Resolver: resolver, Store: &tlsstore.Policies{Pool: pool}}
//	reporter := tlsrpt.Reporter{Store: &tlsstore.Reports{Pool: pool}, …}
//
// postgres.Migrate makes the tables. A policy that one agent has fetched the others need
// not fetch, and one that was proved stays in force for all of them; of all agents one
// sends the report of a day and a domain, with what all have counted.
//
// What agents share of hosts that are down or refuse mail is in the queue itself, in
// postponements and suspensions.
package tlsstore
