package tlsrpt_test

import (
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
)

// The words of RFC 8460 section 4.3, of which reports have no others.
func TestResultsAreTheWordsOfTheRFC(t *testing.T) {
	for _, c := range []struct {
		result tlsrpt.Result
		word   string
	}{
		{tlsrpt.StartTLSNotSupported, "starttls-not-supported"},
		{tlsrpt.HostMismatch, "certificate-host-mismatch"},
		{tlsrpt.CertificateExpired, "certificate-expired"},
		{tlsrpt.NotTrusted, "certificate-not-trusted"},
		{tlsrpt.ValidationFailure, "validation-failure"},
		{tlsrpt.TLSAInvalid, "tlsa-invalid"},
		{tlsrpt.DNSSECInvalid, "dnssec-invalid"},
		{tlsrpt.DANERequired, "dane-required"},
		{tlsrpt.STSFetchError, "sts-policy-fetch-error"},
		{tlsrpt.STSPolicyInvalid, "sts-policy-invalid"},
		{tlsrpt.STSWebPKIInvalid, "sts-webpki-invalid"},
	} {
		t.Run("TLS-44 "+c.word, func(t *testing.T) {
			if got := c.result.String(); got != c.word {
				t.Errorf("String: %q", got)
			}
			if got, ok := tlsrpt.ParseResult(c.word); got != c.result || !ok {
				t.Errorf("ParseResult: %v, %v", got, ok)
			}
			text, err := c.result.MarshalText()
			if err != nil || string(text) != c.word {
				t.Errorf("MarshalText: %q, %v", text, err)
			}
			var back tlsrpt.Result
			if err := back.UnmarshalText(text); err != nil || back != c.result {
				t.Errorf("UnmarshalText: %v, %v", back, err)
			}
		})
	}
}

func TestWordsThatAreNoResultOrPolicyType(t *testing.T) {
	for _, word := range []string{"", "successful", "result 200", "Certificate-Expired", "certificate-revoked"} {
		if got, ok := tlsrpt.ParseResult(word); ok || got != tlsrpt.ValidationFailure {
			t.Errorf("ParseResult(%q): %v, %v", word, got, ok)
		}
	}
	var r tlsrpt.Result
	if err := r.UnmarshalText([]byte("certificate-revoked")); err == nil {
		t.Error("an unknown word is a Result")
	}
	var p tlsrpt.PolicyType
	if err := p.UnmarshalText([]byte("dane")); err == nil {
		t.Error("an unknown word is a PolicyType")
	}
	if _, err := tlsrpt.Result(200).MarshalText(); err == nil {
		t.Error("Result 200 has a text")
	}
	if _, err := tlsrpt.PolicyType(200).MarshalText(); err == nil {
		t.Error("PolicyType 200 has a text")
	}
	if got := tlsrpt.Result(200).String() + ", " + tlsrpt.PolicyType(200).String(); got != "result 200, policy type 200" {
		t.Error(got)
	}
}

func TestPolicyTypesAreTheWordsOfTheRFC(t *testing.T) {
	for kind, word := range map[tlsrpt.PolicyType]string{
		tlsrpt.NoPolicy: "no-policy-found", tlsrpt.STS: "sts", tlsrpt.TLSA: "tlsa",
	} {
		text, err := kind.MarshalText()
		if err != nil || string(text) != word || kind.String() != word {
			t.Errorf("%d: %q, %v, want %q", kind, text, err, word)
		}
		var back tlsrpt.PolicyType
		if err := back.UnmarshalText(text); err != nil || back != kind {
			t.Errorf("%s: %v, %v", word, back, err)
		}
	}
}
