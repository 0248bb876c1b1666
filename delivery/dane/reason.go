package dane

import (
	"fmt"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

// ResultType is the type of a connection in TLS reports, in the words of RFC 8460
// section 4.3.
type ResultType string

// The result types of DANE.
const (
	StartTLSNotSupported ResultType = "starttls-not-supported"
	HostMismatch         ResultType = "certificate-host-mismatch"
	CertificateExpired   ResultType = "certificate-expired"
	NotTrusted           ResultType = "certificate-not-trusted"
	ValidationFailure    ResultType = "validation-failure"
	TLSAInvalid          ResultType = "tlsa-invalid"
	DNSSECInvalid        ResultType = "dnssec-invalid"
	DANERequired         ResultType = "dane-required"
)

// Reason says why a host is not authenticated.
type Reason uint8

// The reasons.
const (
	// NoReason: it is authenticated, or this is not known yet.
	NoReason Reason = iota

	// Reasons why DANE does not apply.

	// NoName: the host is an address, and has no records.
	NoName
	// InsecureMX: insecure MX records name it.
	InsecureMX
	// InsecureAddress: its addresses are insecure.
	InsecureAddress
	// InsecureAlias: its name is an alias that is insecure.
	InsecureAlias
	// NoRecords: it has no TLSA records.
	NoRecords
	// InsecureRecords: it has TLSA records that DNSSEC does not protect.
	InsecureRecords

	// Reasons why there are no records to compare with.

	// NoneUsable: there are secure records, but none is usable.
	NoneUsable

	// Reasons why nothing is known.

	// LookupFailed: a question got no answer.
	LookupFailed
	// Misconfigured: the fields of the Source are invalid.
	Misconfigured

	// Problems of the connection.

	// NotOffered: there is no STARTTLS.
	NotOffered
	// HandshakeFailed: TLS was offered, and failed.
	HandshakeFailed
	// Unparsable: the host's certificate cannot be parsed.
	Unparsable
	// NoRecordMatches: no certificate matches a record.
	NoRecordMatches
	// WrongName: a record authenticates the certificate, but that is for other names.
	WrongName
	// NotInDate: a certificate has expired or is not valid yet.
	NotInDate
	// ChainInvalid: the chain of certificates to the authority of a record is not
	// valid.
	ChainInvalid

	reasons // how many there are
)

// String returns the reason in a few words.
func (r Reason) String() string {
	names := [reasons]string{
		"", "the host is an address and has no name", "insecure MX records name the host", "its addresses are insecure",
		"it is an insecure alias", "it has no TLSA records", "its TLSA records are insecure", "none of its TLSA records can be used",
		"a DNS question has no answer for now", "it is misconfigured", "the host does not offer TLS", "TLS did not come about",
		"the certificate cannot be parsed", "no certificate matches a TLSA record", "the certificate is for other names",
		"a certificate has expired or is not valid yet", "the chain of certificates is not valid",
	}
	if r >= reasons {
		return fmt.Sprintf("reason %d", uint8(r))
	}
	return names[r]
}

var reasonCodes = [reasons]string{
	"", "no-name", "mx-insecure", "address-insecure", "alias-insecure", "tlsa-none", "tlsa-insecure", "tlsa-unusable",
	"dns-lookup-failed", "misconfigured", "starttls-not-offered", "handshake-failed", "certificate-unparsable", "tlsa-no-match",
	"certificate-name", "certificate-expired", "chain-invalid",
}

// Code returns the reason as one word, for programs.
func (r Reason) Code() string { return enum.String("dane.Reason", reasonCodes[:], r) }

// MarshalText returns the same text as Code, for JSON. It fails for a value without a
// name.
func (r Reason) MarshalText() ([]byte, error) { return enum.Marshal("dane.Reason", reasonCodes[:], r) }

// UnmarshalText reads only the texts that MarshalText writes.
func (r *Reason) UnmarshalText(text []byte) error {
	return enum.Unmarshal("dane.Reason", reasonCodes[:], r, text)
}
