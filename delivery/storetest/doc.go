// Package storetest tests a store of MTA-STS policies (mtasts.Store), of TLS reports
// (tlsrpt.Store) or of what was authenticated (trust.ProofStore) against every rule of
// its contract. The stores in this module pass it:
//
//	func TestStore(t *testing.T) {
//		storetest.RunPolicies(t, func(t *testing.T) mtasts.Store { return open(t) })
//	}
//
// Policies, Reports and Proofs do the same and return the errors, for programs that are not
// tests.
package storetest
