package mtasts

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// The result types of connections (RFC 8460 section 4.3).
const (
	StartTLSNotSupported ResultType = "starttls-not-supported"
	HostMismatch         ResultType = "certificate-host-mismatch"
	CertificateExpired   ResultType = "certificate-expired"
	NotTrusted           ResultType = "certificate-not-trusted"
	ValidationFailure    ResultType = "validation-failure"
)

// Session is what a connection to a host has shown.
type Session struct {
	// Offered is whether the host offers TLS.
	Offered bool

	// Err is why TLS did not come about though it was offered. Unparsable is whether
	// that was a certificate which crypto/x509 cannot parse.
	Err        error
	Unparsable bool

	// Chain are the certificates that the host has sent, its own first.
	Chain []*x509.Certificate
}

// Verdict is what a policy says of a connection to a host, and why.
type Verdict struct {
	// Found is the policy and where it comes from.
	Found *Found `json:"found"`

	// Host is the host, by the name that its MX record has.
	Host string `json:"host"`

	// Accepted is whether mail may be sent, as far as the policy has a say: it may if
	// all is as the policy says, and if the policy is not enforced.
	Accepted bool `json:"accepted"`

	// Matched is whether the policy names the host, and Authenticated whether the host
	// has proved to be that one. Both are known in mode testing too.
	Matched       bool `json:"matched"`
	Authenticated bool `json:"authenticated"`

	// ResultType is what a report counts this as; empty is no failure. ReasonCode says it
	// more exactly, as one word.
	ResultType ResultType `json:"result_type,omitempty"`
	ReasonCode string     `json:"reason,omitempty"`

	// Cause is the error behind it; it may be nil.
	Cause error `json:"-"`
}

// JudgeName is the verdict on a host before there is any connection: whether the policy
// names it. Of a host that it does, nothing is said but that it may be tried.
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

// Judge is the verdict on a connection to a host (RFC 8461 section 4.2): the policy must
// name it, there must be TLS, and the certificate must be valid now, lead to one of roots
// (nil is the system's), and bear the name of the host among its DNS names; a common name
// does not count.
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

// Err is a *HostError if nothing may be sent to the host for now, and nil if mail may.
func (v *Verdict) Err() error {
	if v.Accepted {
		return nil
	}
	return &HostError{Verdict: *v}
}

// HostError is why a host must not have mail for now. It is always temporary (RFC 8461
// section 5).
type HostError struct{ Verdict Verdict }

// Error says which host and which policy, and why.
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

// Unwrap is the cause; it may be nil.
func (e *HostError) Unwrap() error { return e.Verdict.Cause }

// Temporary is always true.
func (e *HostError) Temporary() bool { return true }

// ResultType is what reports count this as.
func (e *HostError) ResultType() string { return string(e.Verdict.ResultType) }

// ReasonCode is why, as one word for failure-reason-code of reports.
func (e *HostError) ReasonCode() string { return e.Verdict.ReasonCode }
