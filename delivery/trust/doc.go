// Package trust decides which hosts may receive mail: by DANE if it applies to a host,
// and otherwise by the MTA-STS policy of the domain. Rules of the operator take
// precedence over both. It is the PolicySource of package delivery:
//
//	sender := &delivery.Sender{
//		Resolver: resolver,
//		Policy:   &trust.Source{Resolver: resolver, Store: &mtasts.Dir{Path: dir}},
//	}
//
// Nothing else is needed. An Agent with this Sender also renews MTA-STS policies before
// they expire, and checks when it starts whether the resolver validates DNSSEC.
//
// # What it does
//
// [Source.TLSPolicy] is called for each host of a route at each attempt, and works in
// these steps:
//
//  1. If a [Rule] matches, it wins. At the levels None, May, Encrypt and Fingerprint,
//     it decides alone. At Verify, DANE and DANEOnly, the next steps follow, and must
//     reach that level.
//  2. DANE looks up the TLSA records of the host ([dane.Source]). If that fails, the
//     host is skipped for now, and MTA-STS is not asked: an attacker who can make a
//     question fail must not be able to choose which policy applies.
//  3. If there are usable records, they decide. MTA-STS can neither relax nor add to
//     them (RFC 8461 section 2); it is only checked for reports.
//  4. If there are no usable records, MTA-STS is asked ([mtasts.Source]). This includes
//     the case in which secure but unusable records require TLS. An enforced policy
//     excludes hosts that it does not name, and the others must be authenticated. A
//     policy in testing mode is checked in the same way, and holds back no mail.
//     If the store of policies cannot be read, and none was fetched, it is not known
//     whether there is one: the host is skipped for now, and there is notice of that
//     each hour.
//  5. Otherwise TLS is used if the host offers it, unless more is configured.
//
// # Decisions
//
// The result is a delivery.Decision for each connection, and for each host that was
// skipped. It appears in reports, events and errors, and is passed to the hook Decided
// of a delivery.Trace. It says whether mail may be sent, what is wrong and who can fix
// it, and can count itself for TLS reports. Its Evidence is an [*Evidence] with
// everything that was found out: the questions to DNS, each TLSA record with its fate,
// the policy of the domain and its source, and the certificates.
//
// With the field Audit of a Source or of a Rule, everything is checked and reported as
// usual, but no mail is held back.
//
// # Mail for several domains at the same hosts
//
// A session is used for another domain's mail only if it satisfies that domain's
// policy, which is judged again. If only one of two domains has a policy, their mail
// never shares a transaction.
//
// # Memory of authenticated hosts
//
// If a host was authenticated before and is not any more, and its domain has not
// withdrawn its records or policy, the field Ratchet decides whether this is reported,
// ignored or refused.
//
// # Concurrency
//
// A Source is safe for concurrent use once its fields are set; SetRules may be called
// at any time. It must not be copied.
package trust
