package smtp

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
)

// classic returns config with what older servers can read and choose. Some do not read a
// ClientHello that is longer than a packet, as the share of a hybrid key exchange makes
// it, and some have key exchange by RSA only. The versions of TLS stay the same, so that
// nobody in between can have an older one used, and so does what config sets.
func classic(config *tls.Config) *tls.Config {
	c := config.Clone()
	if c.CurvePreferences == nil {
		c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	}
	if c.CipherSuites == nil {
		c.CipherSuites = append(ForwardSecret(),
			tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA)
	}
	return c
}

// ForwardSecret returns the cipher suites that are offered by default. None of them has key
// exchange by RSA.
func ForwardSecret() (list []uint16) {
	for _, suite := range tls.CipherSuites() {
		list = append(list, suite.ID)
	}
	return list
}

// wrongVersion is the text of an alert of package tls, which has no exported type for it. A
// test checks it.
const wrongVersion = "tls: protocol version not supported"

// HasModern reports whether OptModern makes a difference with a configuration, which may
// be nil. rsa is whether key exchange by RSA may then be offered.
func HasModern(config *tls.Config, rsa bool) bool {
	return config == nil || config.CurvePreferences == nil || rsa && config.CipherSuites == nil
}

// BlamesHello reports whether a handshake may have failed because of what the ClientHello
// offers: the server has sent an alert, has closed the connection, or does not answer.
// An alert of ours is about what the server has sent, and one about the versions of TLS
// would come again.
func (e *Error) BlamesHello() bool {
	if e.Stage != StageHandshake {
		return false
	}
	op, _ := errors.AsType[*net.OpError](e.Err)
	switch {
	case e.Kind == Timeout:
		return true
	case e.Kind != BadTLS:
		return false
	case op != nil:
		return op.Op != "local error" && op.Err.Error() != wrongVersion
	default:
		return errors.Is(e.Err, io.EOF) || errors.Is(e.Err, io.ErrUnexpectedEOF)
	}
}
