// Package storetest holds a store of MTA-STS policies (mtasts.Store) or of TLS reports
// (tlsrpt.Store) to its contract, rule by rule. Those in this module pass, and so must any
// other:
//
//	func TestStore(t *testing.T) {
//		storetest.RunPolicies(t, func(t *testing.T) mtasts.Store { return open(t) })
//	}
//
// Policies and Reports do the same and return what is wrong, for programs that are no test.
package storetest
