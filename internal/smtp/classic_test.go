package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

// TestBlamesHello is which failures of a handshake may be about the ClientHello.
func TestBlamesHello(t *testing.T) {
	for name, c := range map[string]struct {
		err  Error
		want bool
	}{
		"silence":                     {Error{Kind: Timeout, Err: os.ErrDeadlineExceeded}, true},
		"the end":                     {Error{Kind: BadTLS, Err: io.EOF}, true},
		"the end of half a record":    {Error{Kind: BadTLS, Err: io.ErrUnexpectedEOF}, true},
		"a reset":                     {Error{Kind: BadTLS, Err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}, true},
		"an alert":                    {Error{Kind: BadTLS, Err: &net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")}}, true},
		"an alert of ours":            {Error{Kind: BadTLS, Err: &net.OpError{Op: "local error", Err: errors.New("tls: unexpected message")}}, false},
		"another protocol":            {Error{Kind: BadTLS, Err: tls.RecordHeaderError{}}, false},
		"a certificate":               {Error{Kind: BadTLS, Err: &tls.CertificateVerificationError{}}, false},
		"the caller gives up":         {Error{Kind: Canceled, Err: context.Canceled}, false},
		"STARTTLS that is refused":    {Error{Stage: StageStartTLS, Kind: Replied}, false},
		"silence after STARTTLS":      {Error{Stage: StageStartTLS, Kind: Timeout}, false},
		"octets ahead of the session": {Error{Stage: StageStartTLS, Kind: Security}, false},
	} {
		if c.err.Stage == 0 {
			c.err.Stage = StageHandshake
		}
		if got := c.err.BlamesHello(); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

// TestClassic: what a configuration sets stays, and so do the versions of TLS.
func TestClassic(t *testing.T) {
	for name, config := range map[string]*tls.Config{
		"nothing": {}, "curves": {CurvePreferences: []tls.CurveID{tls.CurveP256}},
		"suites": {CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256}}, "versions": {MinVersion: tls.VersionTLS13},
	} {
		c := classic(config)
		if c.MinVersion != config.MinVersion || c.MaxVersion != config.MaxVersion {
			t.Errorf("%s: versions from %x to %x", name, c.MinVersion, c.MaxVersion)
		}
		if len(c.CurvePreferences) == 0 || len(c.CipherSuites) == 0 ||
			len(config.CurvePreferences) > 0 && len(c.CurvePreferences) != 1 || len(config.CipherSuites) > 0 && len(c.CipherSuites) != 1 {
			t.Errorf("%s: %v, %v", name, c.CurvePreferences, c.CipherSuites)
		}
		if !HasModern(config, true) || HasModern(c, true) {
			t.Errorf("%s: has modern key exchanges: %t, and then %t", name, HasModern(config, true), HasModern(c, true))
		}
		if without := HasModern(config, false); without == (name == "curves") {
			t.Errorf("%s: has modern key exchanges if RSA does not take their place: %t", name, without)
		}
	}
	if !HasModern(nil, true) || !HasModern(nil, false) {
		t.Error("the default has none")
	}
}
