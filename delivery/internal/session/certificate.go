package session

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/nexthop-mail/nexthop/internal/smtp"
	"github.com/nexthop-mail/nexthop/mx"
)

// tlsConfig returns the TLS client configuration for a hop. Only TLSVerify checks the
// certificate against the roots and the name: below it, refusing one would lead to
// sending in clear, which is worse (RFC 7435 section 3). The checks in TLSConfig were
// set explicitly, and apply at every level. A certificate of ours is presented only if
// the login or the policy has one (requirement TLS-8).
func (c *Config) tlsConfig(h *Hop, made *Session) *tls.Config {
	p := h.Policy
	var t *tls.Config
	if c.TLSConfig != nil {
		t = c.TLSConfig.Clone()
	} else {
		t = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t.ServerName = p.ServerName
	t.InsecureSkipVerify = p.Level < mx.TLSVerify || p.Verify != nil || p.Judge != nil
	t.VerifyPeerCertificate = checkingPeer(t.VerifyPeerCertificate)
	t.VerifyConnection = both(ifResumed(peerCheck(t.VerifyPeerCertificate)), checking(t.VerifyConnection))
	switch {
	case p.Judge != nil:
		t.VerifyConnection = both(t.VerifyConnection, checking(func(state tls.ConnectionState) error {
			return c.prove(h, made, &state)
		}))
	case p.Level >= mx.TLSVerify:
		t.VerifyConnection = both(t.VerifyConnection, checking(p.Verify))
	}
	t.Renegotiation = tls.RenegotiateNever
	t.Certificates, t.GetClientCertificate = nil, nil
	t.MinVersion = max(t.MinVersion, p.MinVersion)
	if p.Level >= mx.TLSVerify && h.Without&smtp.OptModern != 0 && t.CipherSuites == nil {
		// Some hosts can be made to decrypt what was encrypted for their certificate. Key
		// exchange by RSA with such a host does not prove who it is.
		t.CipherSuites = smtp.ForwardSecret()
	}
	t.ClientSessionCache = nil // it goes by names alone: see tickets
	if shown := h.shows(); shown != nil {
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown, nil }
	}
	return t
}

// shows returns our certificate that is presented to a host; nil if there is none.
func (h *Hop) shows() *tls.Certificate {
	if login, _ := loginOf(h.Host); login != nil && login.Certificate != nil {
		return login.Certificate
	}
	return h.Policy.Certificate
}

// ifResumed is a check for sessions that are resumed, which package tls does not make then.
func ifResumed(check func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	if check == nil {
		return nil
	}
	return func(state tls.ConnectionState) error {
		if !state.DidResume {
			return nil
		}
		return check(state)
	}
}

// peerCheck is the older form of check in the form of the newer.
func peerCheck(check func([][]byte, [][]*x509.Certificate) error) func(tls.ConnectionState) error {
	if check == nil {
		return nil
	}
	return func(state tls.ConnectionState) error {
		var raw [][]byte
		for _, c := range state.PeerCertificates {
			raw = append(raw, c.Raw)
		}
		return check(raw, state.VerifiedChains)
	}
}

// checking is a check whose error is known as one.
func checking(check func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	if check == nil {
		return nil
	}
	return func(state tls.ConnectionState) error {
		if err := check(state); err != nil {
			return &distrust{err}
		}
		return nil
	}
}

// checkingPeer is the same for the older form of check.
func checkingPeer(check func([][]byte, [][]*x509.Certificate) error) func([][]byte, [][]*x509.Certificate) error {
	if check == nil {
		return nil
	}
	return func(raw [][]byte, chains [][]*x509.Certificate) error {
		if err := check(raw, chains); err != nil {
			return &distrust{err}
		}
		return nil
	}
}

// both is one check after the other; either may be nil.
func both(first, second func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	return func(state tls.ConnectionState) error {
		if err := first(state); err != nil {
			return err
		}
		return second(state)
	}
}
