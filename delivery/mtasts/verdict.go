package mtasts

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Result types of connections (RFC 8460 section 4.3).
const (
	StartTLSNotSupported ResultType = "starttls-not-supported"
	HostMismatch         ResultType = "certificate-host-mismatch"
	CertificateExpired   ResultType = "certificate-expired"
	NotTrusted           ResultType = "certificate-not-trusted"
	ValidationFailure    ResultType = "validation-failure"
)

// Session describes the TLS of a connection to a host.
type Session struct {
	// Offered is true if the host offers TLS.
	Offered bool

	// Err says why TLS failed although it was offered. Unparsable is true if the cause
	// was a certificate that crypto/x509 cannot parse.
	Err        error
	Unparsable bool

	// Chain are the certificates that the host has sent, beginning with its own.
	Chain []*x509.Certificate
}

// Verdict is the result of comparing a connection with a policy, with the reason.
type Verdict struct {
	// Found is the policy and where it comes from.
	Found *Found `json:"found"`

	// Host is the name of the host in its MX record.
	Host string `json:"host"`

	// Accepted is true if the policy allows sending mail: either the host satisfies it,
	// or it is not enforced.
	Accepted bool `json:"accepted"`

	// Matched is true if the policy names the host, and Authenticated if the host has
	// proved to have that name. Both are also set in mode testing.
	Matched       bool `json:"matched"`
	Authenticated bool `json:"authenticated"`

	// ResultType is the type of the failure for reports, or "" if there is none.
	// ReasonCode is more specific, in one word.
	ResultType ResultType `json:"result_type,omitempty"`
	ReasonCode string     `json:"reason,omitempty"`

	// Cause is the underlying error; it may be nil.
	Cause error `json:"-"`
}

// JudgeName returns the verdict before there is a connection: whether the policy names
// the host. If it does, the verdict only says that the host may be tried.
func (f *Found) JudgeName(host string) *Verdict {
	v := &Verdict{Found: f, Host: host, Accepted: true}
	if !f.Applies() {
		return v
	}
	if v.Matched = f.Policy.Matches(host); !v.Matched {
		v.refuse(ValidationFailure, "mx-mismatch", nil)
	}
	return v
}

// Judge returns the verdict on a connection to a host (RFC 8461 section 4.2). The
// policy must name the host, and there must be TLS. The certificate must be valid now,
// be issued by one of roots (the system's, if nil), and have the host's name among its
// DNS names; a common name does not count.
func (f *Found) Judge(host string, s Session, roots *x509.CertPool, now time.Time) *Verdict {
	v := f.JudgeName(host)
	switch {
	case !f.Applies() || !v.Matched:
	case !s.Offered:
		v.refuse(StartTLSNotSupported, "starttls-not-offered", nil)
	case s.Unparsable:
		v.refuse(ValidationFailure, "certificate-unparsable", s.Err)
	case s.Err != nil || len(s.Chain) == 0:
		v.refuse(ValidationFailure, "handshake-failed", s.Err)
	default:
		v.authenticate(s.Chain, roots, now)
	}
	return v
}

// authenticate checks the certificate.
func (v *Verdict) authenticate(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) {
	options := x509.VerifyOptions{DNSName: v.Host, Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, cert := range chain[1:] {
		options.Intermediates.AddCert(cert)
	}
	_, err := chain[0].Verify(options)
	if err == nil {
		v.Authenticated = true
		return
	}
	if _, wrong := errors.AsType[x509.HostnameError](err); wrong {
		v.refuse(HostMismatch, "certificate-name", err)
		return
	}
	if invalid, is := errors.AsType[x509.CertificateInvalidError](err); is && invalid.Reason == x509.Expired {
		v.refuse(CertificateExpired, "certificate-expired", err)
		return
	}
	v.refuse(NotTrusted, "certificate-not-trusted", err)
}

// refuse makes v the verdict on a host that is not as the policy says.
func (v *Verdict) refuse(result ResultType, code string, cause error) {
	v.ResultType, v.ReasonCode, v.Cause = result, code, cause
	v.Accepted = !v.Found.Enforced()
}

// Err returns a *HostError if no mail may be sent to the host for now, and otherwise
// nil.
func (v *Verdict) Err() error {
	if v.Accepted {
		return nil
	}
	return &HostError{Verdict: *v}
}

// HostError says why a host must not receive mail for now. It is always temporary (RFC
// 8461 section 5).
type HostError struct{ Verdict Verdict }

// Error names the host, the policy and the reason.
func (e *HostError) Error() string {
	v := &e.Verdict
	text := fmt.Sprintf("MTA-STS policy %s of %s: ", v.Found.ID, v.Found.Domain)
	if !v.Matched {
		return text + "it does not name the host " + v.Host
	}
	text += v.Host + ": " + v.ReasonCode
	if v.Cause != nil {
		text += ": " + v.Cause.Error()
	}
	return text
}

// Unwrap returns the cause; it may be nil.
func (e *HostError) Unwrap() error { return e.Verdict.Cause }

// Temporary returns true.
func (e *HostError) Temporary() bool { return true }

// ResultType returns the result type for reports.
func (e *HostError) ResultType() string { return string(e.Verdict.ResultType) }

// ReasonCode returns one word for failure-reason-code in reports.
func (e *HostError) ReasonCode() string { return e.Verdict.ReasonCode }
