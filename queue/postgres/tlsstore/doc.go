// Package tlsstore stores the shared TLS data of agents in the schema of their queue in
// PostgreSQL: Policies is a store of MTA-STS policies (mtasts.Store), Proofs one of what
// was authenticated (trust.ProofStore), and Reports one of the counts of RFC 8460 and of
// the progress of reports (tlsrpt.Store).
//
//	source := &trust.Source{
//		Resolver: resolver, Store: &tlsstore.Policies{Pool: pool}, Proofs: &tlsstore.Proofs{Pool: pool},
//	}
//	reporter := tlsrpt.Reporter{Store: &tlsstore.Reports{Pool: pool}, …}
//
// postgres.Migrate creates the tables. A policy that one agent has fetched is in force
// for all of them, and is not fetched again by the others. If a host that one agent has
// authenticated no longer is, all of them notice, and one reports it. Of all agents, one sends the
// report of a day and a domain, with the counts of all.
//
// The queue itself holds what agents share about hosts that are down or refuse mail, in
// postponements and suspensions.
package tlsstore
