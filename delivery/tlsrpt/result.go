package tlsrpt

import "fmt"

// Result is the result of a session with a host, in the terms of reports (RFC 8460
// section 4.3). The zero value is Success.
type Result uint8

// The results. All except Success are failures.
const (
	// Success: the session satisfied the policy.
	Success Result = iota

	// Failures of the session (section 4.3.1).

	// StartTLSNotSupported: the host does not offer STARTTLS.
	StartTLSNotSupported
	// HostMismatch: the certificate is for other names.
	HostMismatch
	// CertificateExpired: the certificate has expired or is not valid yet.
	CertificateExpired
	// NotTrusted: the certificate does not lead to a trusted authority.
	NotTrusted
	// ValidationFailure: another failure; the reason code says which (section 4.3.3).
	ValidationFailure

	// Failures of DANE (section 4.3.2.1).

	// TLSAInvalid: no TLSA record is usable.
	TLSAInvalid
	// DNSSECInvalid: DNS gave no answer that can be trusted.
	DNSSECInvalid
	// DANERequired: this sender requires DANE, and the domain does not have it.
	DANERequired

	// Failures of MTA-STS (section 4.3.2.2).

	// STSFetchError: the policy cannot be fetched.
	STSFetchError
	// STSPolicyInvalid: the policy is not valid.
	STSPolicyInvalid
	// STSWebPKIInvalid: the certificate of the policy host is not valid.
	STSWebPKIInvalid

	results // how many there are
)

// resultNames are the words of RFC 8460.
func resultNames() *[results]string {
	return &[results]string{
		"successful", "starttls-not-supported", "certificate-host-mismatch", "certificate-expired", "certificate-not-trusted",
		"validation-failure", "tlsa-invalid", "dnssec-invalid", "dane-required", "sts-policy-fetch-error", "sts-policy-invalid",
		"sts-webpki-invalid",
	}
}

// String returns the word used in reports, such as "certificate-expired", and
// "successful" for Success.
func (r Result) String() string {
	if r >= results {
		return fmt.Sprintf("result %d", uint8(r))
	}
	return resultNames()[r]
}

// ParseResult parses the word for a failure in a report. ok is false for words that are
// not in RFC 8460; a caller that needs a Result can count them as ValidationFailure,
// with the word as the reason.
func ParseResult(word string) (r Result, ok bool) {
	for r = Success + 1; r < results; r++ {
		if resultNames()[r] == word {
			return r, true
		}
	}
	return ValidationFailure, false
}

// MarshalText returns the same text as String, for JSON. It fails for invalid values.
func (r Result) MarshalText() ([]byte, error) {
	if r >= results {
		return nil, fmt.Errorf("tlsrpt: %v is not valid", r)
	}
	return []byte(r.String()), nil
}

// UnmarshalText reads only the texts that MarshalText writes.
func (r *Result) UnmarshalText(text []byte) error {
	for known := Success; known < results; known++ {
		if string(text) == known.String() {
			*r = known
			return nil
		}
	}
	return fmt.Errorf("tlsrpt: unknown result type %q (RFC 8460)", text)
}

// PolicyType is the kind of a policy (RFC 8460 section 4.4). The zero value is
// NoPolicy.
type PolicyType uint8

// The kinds of policies.
const (
	// NoPolicy: the domain has no policy.
	NoPolicy PolicyType = iota
	// STS: an MTA-STS policy.
	STS
	// TLSA: the TLSA records of DANE.
	TLSA

	policyTypes // how many there are
)

func policyTypeNames() *[policyTypes]string {
	return &[policyTypes]string{"no-policy-found", "sts", "tlsa"}
}

// String returns the word used in reports: no-policy-found, sts or tlsa.
func (t PolicyType) String() string {
	if t >= policyTypes {
		return fmt.Sprintf("policy type %d", uint8(t))
	}
	return policyTypeNames()[t]
}

// MarshalText returns the same text as String, for JSON. It fails for invalid values.
func (t PolicyType) MarshalText() ([]byte, error) {
	if t >= policyTypes {
		return nil, fmt.Errorf("tlsrpt: %v is not valid", t)
	}
	return []byte(t.String()), nil
}

// UnmarshalText reads only the texts that MarshalText writes.
func (t *PolicyType) UnmarshalText(text []byte) error {
	for known := NoPolicy; known < policyTypes; known++ {
		if string(text) == known.String() {
			*t = known
			return nil
		}
	}
	return fmt.Errorf("tlsrpt: unknown policy type %q (RFC 8460)", text)
}
