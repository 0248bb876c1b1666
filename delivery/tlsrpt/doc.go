// Package tlsrpt counts what became of TLS with the hosts of each domain, and sends the
// domains that ask for them the reports of RFC 8460.
//
// [Result] are the results that are counted, [PolicyType] the kinds of policies that they
// are counted under, and [Failure] has what a report says of a session that failed.
package tlsrpt
