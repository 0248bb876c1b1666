// Package trust decides whom mail may be given to: by DANE where that applies to a host,
// else by the MTA-STS policy of the domain, and before both by rules of the operator's. It
// is the PolicySource of package delivery:
//
//	sender := &delivery.Sender{
//		Resolver: resolver,
//		Policy:   &trust.Source{Resolver: resolver, Store: &mtasts.Dir{Path: dir}},
//	}
//
// That is all. An Agent with this Sender also fetches policies again before they expire,
// and looks, when it starts, whether the resolver vouches for anything.
//
// # What it does
//
// [Source.TLSPolicy] is asked for each host of a route at each attempt, and goes by these
// steps:
//
//  1. A [Rule] that matches wins. At the levels None, May, Encrypt and Fingerprint nobody
//     else is asked; Verify, DANE and DANEOnly go on, and say what must come of it.
//  2. DANE is asked for the TLSA records of the host ([dane.Source]). If that fails, the
//     host is left alone for now, and nobody else is asked: who can make a question fail
//     must not be able to choose who answers.
//  3. Where there are records to authenticate the host by, they decide. MTA-STS can
//     neither lift nor add to that (RFC 8461 section 2); it is looked at to be reported.
//  4. Where there are none, and also where there are some of which none can be used, so
//     that there must be TLS, MTA-STS is asked ([mtasts.Source]). A policy that is
//     enforced leaves out hosts that it does not name, and the others must prove who they
//     are. One that is being tested is checked in the same way, and keeps no mail.
//  5. Else TLS is used if the host offers it, unless more is configured.
//
// # Decisions
//
// What came of it is a delivery.Decision, for each connection and for each host that was
// left alone: in reports, events and errors, and by the hook Decided of a delivery.Trace.
// It says whether mail may be sent, what is wrong and who can put it right, and counts
// itself for reports of TLS. Its Evidence is an [*Evidence], with everything that was found
// out: the questions to DNS, each TLSA record and what became of it, the policy of the
// domain and where it comes from, and the certificates.
//
// The field Audit of a Source, or of a Rule, has everything checked and told as usual, and
// no mail kept.
//
// # Mail for several domains at the same hosts
//
// A session serves another domain's mail only if what it has shown is what that domain's
// policy asks for, and it is judged again by that policy. Mail for two domains of which
// one has a policy never shares a transaction.
//
// # Memory of what was proved
//
// A host that was authenticated, and is not any more though nobody with the right to has
// said that it need not be, is told of, or refused, as the field Ratchet says.
//
// # Concurrency
//
// A Source is safe for concurrent use once its fields are set; SetRules may be called at
// any time. It must not be copied.
package trust
