package tlsrpt

import "fmt"

// Result is what became of a session with a host, in the terms that reports have for it
// (RFC 8460 section 4.3). The zero value is Success.
type Result uint8

// The results. All but Success are failures.
const (
	// Success: the session has the TLS that the policy asks for.
	Success Result = iota

	// What was wrong with the session (section 4.3.1).

	// StartTLSNotSupported: the host does not offer STARTTLS.
	StartTLSNotSupported
	// HostMismatch: the certificate is for other names.
	HostMismatch
	// CertificateExpired: the certificate has expired or is not valid yet.
	CertificateExpired
	// NotTrusted: the certificate leads to nobody who may vouch for it.
	NotTrusted
	// ValidationFailure: something else; the reason code says what (section 4.3.3).
	ValidationFailure

	// What was wrong with DANE (section 4.3.2.1).

	// TLSAInvalid: none of the TLSA records can be used.
	TLSAInvalid
	// DNSSECInvalid: DNS gives no answer that may be believed.
	DNSSECInvalid
	// DANERequired: DANE is mandatory here and the domain has none.
	DANERequired

	// What was wrong with MTA-STS (section 4.3.2.2).

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

// String is the word that reports have, such as "certificate-expired", and "successful"
// for Success.
func (r Result) String() string {
	if r >= results {
		return fmt.Sprintf("result %d", uint8(r))
	}
	return resultNames()[r]
}

// ParseResult is the failure of a word that reports have. Words that are not of RFC 8460
// are none; a caller who needs one counts them as ValidationFailure with the word as the
// reason.
func ParseResult(word string) (r Result, ok bool) {
	for r = Success + 1; r < results; r++ {
		if resultNames()[r] == word {
			return r, true
		}
	}
	return ValidationFailure, false
}

// MarshalText is String, for JSON. It fails for what is no result.
func (r Result) MarshalText() ([]byte, error) {
	if r >= results {
		return nil, fmt.Errorf("tlsrpt: there is no %v", r)
	}
	return []byte(r.String()), nil
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (r *Result) UnmarshalText(text []byte) error {
	for known := Success; known < results; known++ {
		if string(text) == known.String() {
			*r = known
			return nil
		}
	}
	return fmt.Errorf("tlsrpt: %q is no result of RFC 8460", text)
}

// PolicyType is what kind of policy a session was held to (RFC 8460 section 4.4). The zero
// value is NoPolicy.
type PolicyType uint8

// The kinds of policies.
const (
	// NoPolicy: the domain has none.
	NoPolicy PolicyType = iota
	// STS: that of MTA-STS.
	STS
	// TLSA: the TLSA records of DANE.
	TLSA

	policyTypes // how many there are
)

func policyTypeNames() *[policyTypes]string {
	return &[policyTypes]string{"no-policy-found", "sts", "tlsa"}
}

// String is the word that reports have: no-policy-found, sts or tlsa.
func (t PolicyType) String() string {
	if t >= policyTypes {
		return fmt.Sprintf("policy type %d", uint8(t))
	}
	return policyTypeNames()[t]
}

// MarshalText is String, for JSON. It fails for what is no type.
func (t PolicyType) MarshalText() ([]byte, error) {
	if t >= policyTypes {
		return nil, fmt.Errorf("tlsrpt: there is no %v", t)
	}
	return []byte(t.String()), nil
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (t *PolicyType) UnmarshalText(text []byte) error {
	for known := NoPolicy; known < policyTypes; known++ {
		if string(text) == known.String() {
			*t = known
			return nil
		}
	}
	return fmt.Errorf("tlsrpt: %q is no type of policies of RFC 8460", text)
}
