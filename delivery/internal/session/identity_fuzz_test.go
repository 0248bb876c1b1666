package session

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
)

// FuzzServiceNames reads subject alternative names as strangers may write them: it
// ends, and what it finds is text of the certificate.
func FuzzServiceNames(f *testing.F) {
	f.Add([]byte("\x30\x23\xa0\x21\x06\x08\x2b\x06\x01\x05\x05\x07\x08\x07\xa0\x15\x16\x13_submissions.e.test"))
	f.Add([]byte("\x30\x0a\x82\x08a.e.test"))
	f.Add([]byte("\x30\x80"))
	f.Add([]byte("0#\xa0!\x06\b+\x06\x01\x05\x05\a\b\a0\x15\x14\x130\xba00000000000000000")) // not an IA5String
	f.Fuzz(func(t *testing.T, der []byte) {
		c := &x509.Certificate{Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}}}
		for _, name := range serviceNames(c) {
			if !strings.Contains(string(der), name) {
				t.Errorf("%q is not in %q", name, der)
			}
		}
	})
}
