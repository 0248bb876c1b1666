package dane

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/nexthop-mail/nexthop/internal/enum"
	"github.com/nexthop-mail/nexthop/mx"
)

// The certificate usages of TLSA records (RFC 7218 section 2.1). The two PKIX usages
// have no meaning in SMTP (RFC 7672 section 3.1.3).
const (
	PKIXTA = 0
	PKIXEE = 1
	DANETA = 2
	DANEEE = 3
)

// The selectors (RFC 7218 section 2.2).
const (
	Cert = 0
	SPKI = 1
)

// The matching types (RFC 7218 section 2.3).
const (
	Full   = 0
	SHA256 = 1
	SHA512 = 2
)

// Record is one TLSA record with its fate.
type Record struct {
	mx.TLSA
	Fate Fate
	// Depth is the position of the certificate that the record matched, if Fate says
	// that it did; 0 is the host's own. A certificate that is only in the record comes
	// after those that were sent. If only a key is in the record, it is the position of
	// the certificate that the key has signed.
	Depth int
}

// String returns the record as it is written in a zone.
func (r Record) String() string {
	return fmt.Sprintf("%d %d %d %x", r.Usage, r.Selector, r.MatchingType, r.Data)
}

// Fate is the result for one record.
type Fate uint8

// The fates of a record: first those that Find assigns, then those that Judge assigns
// to the records that count.
const (
	// Counts: it is usable, and certificates are compared with it.
	Counts Fate = iota
	// OtherDigest: another record of its usage and selector has a stronger digest.
	OtherDigest
	// PKIXUsage: usages 0 and 1 have no meaning in SMTP.
	PKIXUsage
	// UnknownUsage, UnknownSelector, UnknownMatching: the number has no meaning.
	UnknownUsage
	UnknownSelector
	UnknownMatching
	// BadLength: a digest of the wrong length.
	BadLength
	// BadData: the data should be a whole certificate or key, and is not.
	BadData

	// Matched: the record authenticates the host.
	Matched
	// NoMatch: no certificate matches the record.
	NoMatch
	// NameMismatch: the authority of the record has issued the certificate, but for
	// other names.
	NameMismatch
	// Expired: a certificate in the chain to the authority has expired, or is not valid
	// yet.
	Expired
	// BadChain: the chain of certificates to the authority is not valid.
	BadChain
	// NotTried: the chain and the records are so long that the record was not compared
	// with all of the chain.
	NotTried

	fates // how many there are
)

// Unusable reports whether a record does not count (RFC 7672 section 2.1.1). A record
// with a weaker digest than another is not unusable in this sense.
func (f Fate) Unusable() bool { return f >= PKIXUsage && f <= BadData }

var fateNames = [fates]string{
	"counts", "another has a stronger digest", "usage means nothing in SMTP", "unknown usage", "unknown selector",
	"unknown matching type", "digest of the wrong length", "not a certificate or key", "matches", "matches no certificate",
	"vouches for other names", "a certificate has expired or is not valid yet", "the chain is not valid", "too many to be tried",
}

// String returns the fate in a few words.
func (f Fate) String() string { return enum.String("dane.Fate", fateNames[:], f) }

// MarshalText returns the same text as String, for JSON. It fails for a value without a
// name.
func (f Fate) MarshalText() ([]byte, error) { return enum.Marshal("dane.Fate", fateNames[:], f) }

// UnmarshalText reads only the texts that MarshalText writes.
func (f *Fate) UnmarshalText(text []byte) error {
	return enum.Unmarshal("dane.Fate", fateNames[:], f, text)
}

// judged returns the records of a set with the fates that are known before there is a
// certificate. digests are the matching types that are digests, the strongest first.
func judged(set []mx.TLSA, digests []uint8) []Record {
	records := make([]Record, len(set))
	for i := range set {
		records[i] = Record{TLSA: set[i], Fate: usability(&set[i], digests)}
	}
	for i := range records {
		r := &records[i]
		if r.Fate == Counts && slices.ContainsFunc(records, func(other Record) bool {
			return other.Fate == Counts && other.MatchingType != Full && other.Usage == r.Usage && other.Selector == r.Selector &&
				slices.Index(digests, other.MatchingType) < slices.Index(digests, r.MatchingType)
		}) {
			// Marked later: a digest that is weaker than this one is weaker than the
			// other as well.
			defer func() { r.Fate = OtherDigest }()
		}
	}
	return records
}

// usability is whether a record can be used at all (RFC 7671 section 4, RFC 7672
// section 3.1).
func usability(r *mx.TLSA, digests []uint8) Fate {
	switch {
	case r.Usage == PKIXTA || r.Usage == PKIXEE:
		return PKIXUsage
	case r.Usage > DANEEE:
		return UnknownUsage
	case r.Selector > SPKI:
		return UnknownSelector
	case r.MatchingType != Full && !slices.Contains(digests, r.MatchingType):
		return UnknownMatching
	case r.MatchingType == SHA256 && len(r.Data) != sha256.Size, r.MatchingType == SHA512 && len(r.Data) != sha512.Size:
		return BadLength
	case r.MatchingType == Full && !wellFormed(r.Selector, r.Data):
		return BadData
	}
	return Counts
}

// wellFormed reports whether data has the form of a certificate, or of a key. It need not
// be one that package x509 can use: it may still be what a host sends.
func wellFormed(selector uint8, data []byte) bool {
	if selector == SPKI {
		var key struct {
			Algorithm pkix.AlgorithmIdentifier
			Key       asn1.BitString
		}
		rest, err := asn1.Unmarshal(data, &key)
		return err == nil && len(rest) == 0
	}
	var cert struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	rest, err := asn1.Unmarshal(data, &cert)
	return err == nil && len(rest) == 0 && cert.TBS.Class == asn1.ClassUniversal && cert.TBS.Tag == asn1.TagSequence
}

// selected returns the part of a certificate that equals the record's data if the record
// is about it.
func (r *Record) selected(cert *x509.Certificate) []byte {
	selected := cert.Raw
	if r.Selector == SPKI {
		selected = cert.RawSubjectPublicKeyInfo
	}
	switch r.MatchingType {
	case SHA256:
		sum := sha256.Sum256(selected)
		return sum[:]
	case SHA512:
		sum := sha512.Sum512(selected)
		return sum[:]
	}
	return selected
}

// MarshalJSON writes a record in the form of zone text, with its fate.
func (r Record) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Record string `json:"record"`
		Fate   Fate   `json:"fate"`
		Depth  int    `json:"depth,omitempty"`
	}{r.String(), r.Fate, r.Depth})
}
