package session

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
)

// TestIdentities is which names a certificate may bear, the name in the handshake, and
// what keeps sessions apart.
func TestIdentities(t *testing.T) {
	given := func(tls.ConnectionState) error { return nil }
	for _, c := range []struct {
		name       string
		policy     Policy
		identities []string
		serverName string
		checks     bool // by a check of its own, and not by package tls
		key        string
	}{
		{"the host's name", Policy{}, nil, "mx.e.test", false, ""},
		{"one name", Policy{}, []string{"e.test"}, "e.test", false, ""},
		{"one of several, of which the first is in the handshake", Policy{}, []string{"e.test", "mx.e.test"}, "e.test", true, "one of e.test mx.e.test"},
		{"the name of a service is not in the handshake", Policy{}, []string{"_submission.e.test", "e.test"}, "e.test", true, "one of _submission.e.test e.test"},
		{"the name of a service alone", Policy{}, []string{"_submission.e.test"}, "", true, "one of _submission.e.test"},
		{"the key of a policy stays", Policy{Key: "p "}, []string{"a.test", "b.test"}, "a.test", true, "p one of a.test b.test"},
		{"a policy with a check of its own", Policy{Key: "p", Verify: given}, []string{"a.test", "b.test"}, "a.test", true, "p"},
		{"a policy with a name of its own", Policy{ServerName: "c.test"}, []string{"a.test", "b.test"}, "c.test", false, ""},
	} {
		t.Run("TLS-9 "+c.name, func(t *testing.T) {
			p := c.policy
			new(Config).identify(&p, &mx.Host{Name: "mx.e.test", Identities: c.identities})
			if p.ServerName != c.serverName || (p.Verify != nil) != c.checks || p.Key != c.key {
				t.Errorf("%q in the handshake, a check: %t, key %q; want %q, %t, %q", p.ServerName, p.Verify != nil, p.Key, c.serverName, c.checks, c.key)
			}
			if c.policy.Verify != nil && p.Verify(tls.ConnectionState{}) != nil {
				t.Error("it is another check")
			}
		})
	}
}

// TestBearsOneOf is the check of a certificate that may have one of several names.
func TestBearsOneOf(t *testing.T) {
	ca, err := smtptest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	state := func(template *x509.Certificate, names ...string) (s tls.ConnectionState) {
		t.Helper()
		cert, err := ca.CertificateFor(template, names...)
		if err != nil {
			t.Fatal(err)
		}
		for _, der := range cert.Certificate {
			parsed, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			s.PeerCertificates = append(s.PeerCertificates, parsed)
		}
		return s
	}
	at := func(year int) func() time.Time {
		return func() time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
	}
	valid := &x509.Certificate{NotBefore: at(1999)(), NotAfter: at(2099)()}
	old := &x509.Certificate{NotBefore: at(1999)(), NotAfter: at(2001)()}
	service := &x509.Certificate{NotBefore: at(1999)(), NotAfter: at(2099)(), ExtraExtensions: []pkix.Extension{{
		Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: names(srvName("e.test")),
	}}}
	submission := &x509.Certificate{NotBefore: at(1999)(), NotAfter: at(2099)(), ExtraExtensions: []pkix.Extension{{
		Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: names(srvName("_Submission.e.test")),
	}}}
	// by another authority in between, which the first has signed
	between := func() (s tls.ConnectionState) {
		t.Helper()
		middle, err := ca.CertificateFor(&x509.Certificate{
			NotBefore: at(1999)(), NotAfter: at(2099)(), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
			SerialNumber: big.NewInt(1000), Subject: pkix.Name{CommonName: "between"},
		})
		if err != nil {
			t.Fatal(err)
		}
		signer, err := x509.ParseCertificate(middle.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		key := middle.PrivateKey.(crypto.Signer)
		leaf := &x509.Certificate{SerialNumber: big.NewInt(1001), NotBefore: at(1999)(), NotAfter: at(2099)(), DNSNames: []string{"e.test"}}
		der, err := x509.CreateCertificate(rand.Reader, leaf, signer, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		if leaf, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		return tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf, signer}}
	}
	names := []string{"_submission.e.test", "e.test", "[192.0.2.1]"}
	for _, c := range []struct {
		name   string
		config *tls.Config
		state  tls.ConnectionState
		want   bool
	}{
		{"the second of them", &tls.Config{RootCAs: ca.Pool()}, state(valid, "e.test"), true},
		{"the name of a service", &tls.Config{RootCAs: ca.Pool()}, state(submission), true},
		{"by another authority in between", &tls.Config{RootCAs: ca.Pool()}, between(), true},
		{"an address", &tls.Config{RootCAs: ca.Pool()}, state(valid, "192.0.2.1"), true},
		{"none of them", &tls.Config{RootCAs: ca.Pool()}, state(valid, "f.test"), false},
		{"a DNS name is not the name of a service", &tls.Config{RootCAs: ca.Pool()}, state(valid, "_submission.e.test"), false},
		{"nor the other way round", &tls.Config{RootCAs: ca.Pool()}, state(service), false},
		{"nobody trusts the authority", nil, state(valid, "e.test"), false},
		{"the configuration has no roots", &tls.Config{}, state(valid, "e.test"), false},
		{"it has run out", &tls.Config{RootCAs: ca.Pool()}, state(old, "e.test"), false},
		{"it has not at the time that the configuration tells", &tls.Config{RootCAs: ca.Pool(), Time: at(2000)}, state(old, "e.test"), true},
	} {
		t.Run("TLS-9 "+c.name, func(t *testing.T) {
			err := (&Config{TLSConfig: c.config}).bearsOneOf(names)(c.state)
			if (err == nil) != c.want {
				t.Errorf("%v, want it to pass: %t", err, c.want)
			}
			if err != nil && !errors.Is(err, errOtherNames) && !Distrusted(err) {
				t.Errorf("%v is not known as a certificate refused", err)
			}
		})
	}
}

// der encodes a value of one tag, of at most 127 octets.
func der(tag byte, parts ...string) string {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return string(append([]byte{tag, byte(len(b))}, b...))
}

const oidSRV = "\x06\x08\x2b\x06\x01\x05\x05\x07\x08\x07"

// srvName is an SRV-ID among the names of a certificate.
func srvName(s string) string { return der(0xa0, oidSRV, der(0xa0, der(0x16, s))) }

func names(list ...string) []byte { return []byte(der(0x30, list...)) }

// TestServiceNames is which names of a certificate are SRV-IDs (RFC 4985 section 2).
func TestServiceNames(t *testing.T) {
	const id = "_submission.e.test"
	alternative, other := asn1.ObjectIdentifier{2, 5, 29, 17}, asn1.ObjectIdentifier{2, 5, 29, 18}
	one := func(names []byte) []pkix.Extension { return []pkix.Extension{{Id: alternative, Value: names}} }
	for _, c := range []struct {
		name       string
		extensions []pkix.Extension
		want       []string
	}{
		{"none", nil, nil},
		{"one", one(names(srvName(id))), []string{id}},
		{"two beside a DNS name", one(names(srvName("_a.test"), der(0x82, "e.test"), srvName("_b.test"))), []string{"_a.test", "_b.test"}},
		{"in another extension", []pkix.Extension{{Id: other, Value: names(srvName(id))}}, nil},
		{"behind another extension", append([]pkix.Extension{{Id: other}}, one(names(srvName(id)))...), []string{id}},
		{"something behind the names", one(append(names(srvName(id)), 0)), nil},
		{"names that cannot be read, and others", append(one([]byte("\x30\x80")), one(names(srvName(id)))...), nil},
		{"another kind of other name", one(names(der(0xa0, "\x06\x08\x2b\x06\x01\x05\x05\x07\x08\x05", der(0xa0, der(0x16, id))))), nil},
		{"an other name that cannot be read, and one that can", one(names(der(0xa0, "\x06"), srvName(id))), []string{id}},
		{"a name of another tag", one(names(der(0xa1, oidSRV, der(0xa0, der(0x16, id))))), nil},
		{"a name of another class", one(names(der(0x30, oidSRV, der(0xa0, der(0x16, id))))), nil},
		{"a string of another kind", one(names(der(0xa0, oidSRV, der(0xa0, der(0x0c, id))))), nil},
		{"a string of another class", one(names(der(0xa0, oidSRV, der(0xa0, der(0x96, id))))), nil},
		{"something behind the string", one(names(der(0xa0, oidSRV, der(0xa0, der(0x16, id), "\x05\x00")))), nil},
		{"a string that is cut", one(names(der(0xa0, oidSRV, der(0xa0, "\x16\x7f"+id)))), nil},
		{"no string", one(names(der(0xa0, oidSRV, der(0xa0)))), nil},
	} {
		t.Run("TLS-9 "+c.name, func(t *testing.T) {
			if got := serviceNames(&x509.Certificate{Extensions: c.extensions}); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestCertificateName is what a certificate must be for.
func TestCertificateName(t *testing.T) {
	for host, want := range map[string]string{
		"mx.e.test": "mx.e.test", "[192.0.2.1]": "192.0.2.1", "[IPv6:2001:DB8::1]": "2001:db8::1", "[x]": "[x]", "": "",
	} {
		if got := certificateName(host); got != want {
			t.Errorf("of %q: %q, want %q", host, got, want)
		}
	}
}
