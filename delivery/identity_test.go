package delivery_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// identityZone has a smart host under its name, an alias, MX and SRV records.
const identityZone = `
$ORIGIN s.test.
@                 CNAME real.test.
$ORIGIN real.test.
@                 A 192.0.2.1
$ORIGIN e.test.
@                 MX 10 mx
mx                A 192.0.2.1
a                 A 192.0.2.1
a.b               A 192.0.2.1
xn--bcher-kva     A 192.0.2.1
_submission._tcp  SRV 0 1 25 mx
`

var (
	years = [2]time.Time{time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)}

	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidDNSSRV         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}
)

// valid is a certificate template of any time a bubble may have.
func valid() *x509.Certificate { return &x509.Certificate{NotBefore: years[0], NotAfter: years[1]} }

// srvID is a template with an SRV-ID as its only name (RFC 4985 section 2).
func srvID(t *testing.T, name string, oid asn1.ObjectIdentifier) *x509.Certificate {
	t.Helper()
	must := func(v any, params string) []byte {
		der, err := asn1.MarshalWithParams(v, params)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	value := must(name, "ia5")
	other := must(struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}{oid, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: value}}, "tag:0")
	c := valid()
	c.ExtraExtensions = []pkix.Extension{{Id: oidSubjectAltName, Value: must([]asn1.RawValue{{FullBytes: other}}, "")}}
	return c
}

// deliverTo sends one message by a smart host that shows a certificate, and reports
// whether it got there, and the name in the handshake.
func deliverTo(t *testing.T, notation string, rules []string, ca *smtptest.Authority, cert tls.Certificate) (delivered bool, sni string) {
	t.Helper()
	var mu sync.Mutex
	config := &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		sni = hello.ServerName
		return &tls.Config{Certificates: []tls.Certificate{cert}}, nil
	}}
	host := &smtptest.Host{Extensions: append(full(), "STARTTLS"), TLS: config}
	bubble(t, identityZone, servers(host), func(t *testing.T, r *rig) {
		for _, name := range rules {
			r.dns.SetSigned(name, true)
		}
		r.sender.TLSConfig = ca.ClientConfig()
		byTable(t, r, smarthost.Rules{Default: smart(t, notation)})
		rr := &r.send(t, message("u@x.test")).Recipients[0]
		delivered = rr.Outcome == queue.Delivered
		if !delivered && (rr.Outcome != queue.Deferred || mails(host) != 0) {
			t.Errorf("%v (%v) after %d MAIL, want deferred after none", rr.Outcome, rr.Err, mails(host))
		}
	})
	return delivered, sni
}

// TestIdentity is which certificates show that a smart host is the one meant.
func TestIdentity(t *testing.T) {
	ca := authority(t)
	names := func(names ...string) tls.Certificate {
		cert, err := ca.Certificate(names...)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	from := func(template *x509.Certificate, names ...string) tls.Certificate {
		cert, err := ca.CertificateFor(template, names...)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	common, uri := valid(), valid()
	common.Subject.CommonName = "s.test"
	uri.URIs = []*url.URL{{Scheme: "https", Host: "s.test"}}
	expired := valid()
	expired.NotAfter = years[0].Add(time.Hour)
	const plain, byMX, bySRV = "smtp://s.test?tls=verify", "smtp://e.test?mx=1&tls=verify", "submission://e.test?srv=1&tls=verify"
	for _, c := range []struct {
		name, host string
		signed     []string
		cert       tls.Certificate
		want       bool
		sni        string
	}{
		{"TLS-9 the name connected to", plain, nil, names("s.test"), true, "s.test"},
		{"TLS-9 not the one behind an alias", plain, nil, names("real.test"), false, "s.test"},
		{"TLS-9 not a common name", plain, nil, from(common), false, "s.test"},
		{"TLS-9 not a URI", plain, nil, from(uri), false, "s.test"},
		{"TLS-9 an address, by the address", "smtp://[192.0.2.1]?tls=verify", nil, names("192.0.2.1"), true, ""},
		{"TLS-9 by MX, the domain", byMX, nil, names("e.test"), true, "e.test"},
		{"TLS-9 by MX, not the host DNS led to", byMX, nil, names("mx.e.test"), false, "e.test"},
		{"TLS-9 by MX, the host where DNSSEC vouches", byMX, []string{"e.test"}, names("mx.e.test"), true, "mx.e.test"},
		{"TLS-9 by MX, the domain where DNSSEC vouches", byMX, []string{"e.test"}, names("e.test"), true, "mx.e.test"},
		{"TLS-9 by SRV, the domain", bySRV, nil, names("e.test"), true, "e.test"},
		{"TLS-9 by SRV, the SRV-ID", bySRV, nil, from(srvID(t, "_Submission.E.test", oidDNSSRV)), true, "e.test"},
		{"TLS-9 by SRV, not that of another service", bySRV, nil, from(srvID(t, "_imap.e.test", oidDNSSRV)), false, "e.test"},
		{"TLS-9 by SRV, not that of another domain", bySRV, nil, from(srvID(t, "_submission.f.test", oidDNSSRV)), false, "e.test"},
		{"TLS-9 by SRV, not another kind of name", bySRV, nil, from(srvID(t, "_submission.e.test", asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5})), false, "e.test"},
		{"TLS-9 by SRV, not a DNS name like an SRV-ID", bySRV, nil, names("_submission.e.test"), false, "e.test"},
		{"TLS-9 by SRV, not the host DNS led to", bySRV, nil, names("mx.e.test"), false, "e.test"},
		{"TLS-9 by SRV, the host where DNSSEC vouches", bySRV, []string{"e.test"}, names("mx.e.test"), true, "mx.e.test"},
		{"TLS-9 by SRV, the host where the operator does", bySRV + "&target=mx.e.test", nil, names("mx.e.test"), true, "mx.e.test"},
		{"TLS-9 an SRV-ID without SRV", plain, nil, from(srvID(t, "_submission.s.test", oidDNSSRV)), false, "s.test"},

		{"TLS-10 a wildcard is one label", "smtp://a.e.test?tls=verify", nil, names("*.e.test"), true, "a.e.test"},
		{"TLS-10 and not two", "smtp://a.b.e.test?tls=verify", nil, names("*.e.test"), false, "a.b.e.test"},
		{"TLS-10 nor none", byMX, nil, names("*.e.test"), false, "e.test"},
		{"TLS-10 nor a part of one, at its end", "smtp://a.e.test?tls=verify", nil, names("a*.e.test"), false, "a.e.test"},
		{"TLS-10 nor at its beginning", "smtp://a.e.test?tls=verify", nil, names("*a.e.test"), false, "a.e.test"},
		{"TLS-10 nor two of them", "smtp://a.e.test?tls=verify", nil, names("*.*.test"), false, "a.e.test"},
		{"TLS-10 nor alone", plain, nil, names("*"), false, "s.test"},
		{"TLS-10 case does not count", "smtp://A.E.TEST?tls=verify", nil, names("a.E.Test"), true, "a.e.test"},
		{"TLS-10 A-labels do", "smtp://bücher.e.test?tls=verify", nil, names("xn--bcher-kva.e.test"), true, "xn--bcher-kva.e.test"},
		{"TLS-10 validity comes first", plain, nil, from(expired, "s.test"), false, "s.test"},
		{"TLS-10 validity comes first, with several names", byMX, nil, from(expired, "e.test"), false, "e.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, sni := deliverTo(t, c.host, c.signed, ca, c.cert)
			if got != c.want || sni != c.sni {
				t.Errorf("delivered: %t, want %t; name in the handshake %q, want %q", got, c.want, sni, c.sni)
			}
		})
	}
	t.Run("TLS-10 the right name of the wrong authority", func(t *testing.T) {
		for _, notation := range []string{plain, byMX, bySRV} {
			cert, err := authority(t).Certificate("s.test", "e.test")
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := deliverTo(t, notation, nil, ca, cert); got {
				t.Errorf("%s: delivered", notation)
			}
		}
	})
	t.Run("TLS-10 a chain by way of an intermediate", func(t *testing.T) {
		for _, notation := range []string{plain, byMX, bySRV} {
			if got, _ := deliverTo(t, notation, nil, ca, below(t, ca, "s.test", "e.test")); !got {
				t.Errorf("%s: not delivered", notation)
			}
		}
	})
}

// below is a certificate that an intermediate authority has signed.
func below(t *testing.T, ca *smtptest.Authority, names ...string) tls.Certificate {
	t.Helper()
	template := valid()
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	template.Subject.CommonName = "intermediate"
	intermediate, err := ca.CertificateFor(template)
	if err != nil {
		t.Fatal(err)
	}
	parent, err := x509.ParseCertificate(intermediate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := valid()
	leaf.SerialNumber, leaf.DNSNames = big.NewInt(7), names
	der, err := x509.CreateCertificate(rand.Reader, leaf, parent, &key.PublicKey, intermediate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, intermediate.Certificate[0]}, PrivateKey: key}
}

// TestDiscovered is a Sender with a submission server found by SRV records.
func TestDiscovered(t *testing.T) {
	const records = "$TTL 60\n$ORIGIN e.test.\none A 192.0.2.1\ntwo A 192.0.2.2\n_submission._tcp SRV 0 1 25 "
	ca := authority(t)
	host := func() *smtptest.Host {
		return &smtptest.Host{Name: "e.test", Extensions: append(full(), "STARTTLS"), Authority: ca}
	}
	t.Run("MX-32 ten sends, one question; a failure, another", func(t *testing.T) {
		one, two := host(), host()
		bubble(t, records+"one", servers(one, two), func(t *testing.T, r *rig) {
			r.sender.TLSConfig = ca.ClientConfig()
			byTable(t, r, smarthost.Rules{Default: smart(t, "submission://e.test?srv=1&tls=verify")})
			count := func() int {
				return len(slices.DeleteFunc(r.dns.Queries(), func(q mxtest.Query) bool { return q.Name != "_submission._tcp.e.test" }))
			}
			for range 10 {
				want(t, &r.send(t, message("u@x.test")).Recipients[0], queue.Delivered, "one.e.test", "")
				pass(time.Minute)
			}
			if n := count(); n != 1 {
				t.Errorf("asked %d times, want once", n)
			}
			if err := r.dns.SetZone(records + "two"); err != nil {
				t.Fatal(err)
			}
			if err := r.net.SetLink("192.0.2.1", smtptest.Link{Fault: smtptest.ConnRefused}); err != nil {
				t.Fatal(err)
			}
			want(t, &r.send(t, message("u@x.test")).Recipients[0], queue.Deferred, "one.e.test", "4.4.1")
			for range 3 {
				want(t, &r.send(t, message("u@x.test")).Recipients[0], queue.Delivered, "two.e.test", "")
			}
			if n := count(); n != 2 {
				t.Errorf("asked %d times after the failure, want twice", n)
			}
		})
	})
	t.Run("MX-32, TLS-9, TLS-11 implicit TLS and a login, by the SRV-ID", func(t *testing.T) {
		cert, err := ca.CertificateFor(srvID(t, "_submissions.e.test", oidDNSSRV))
		if err != nil {
			t.Fatal(err)
		}
		host := &smtptest.Host{
			Name: "one.e.test", ImplicitTLS: true, TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
			ExtensionsTLS: []string{"AUTH PLAIN"}, Users: map[string]string{"user": password},
		}
		const zone = "$ORIGIN e.test.\none A 192.0.2.1\n_submissions._tcp SRV 0 1 465 one"
		bubble(t, zone, map[string]smtptest.Server{"192.0.2.1:465": host}, func(t *testing.T, r *rig) {
			r.sender.TLSConfig = ca.ClientConfig()
			byTable(t, r, smarthost.Rules{Default: smart(t, "submission://user:"+password+"@e.test?srv=1")})
			rr := &r.send(t, message("u@x.test")).Recipients[0]
			want(t, rr, queue.Delivered, "one.e.test", "")
			if rr.TLS.Level != mx.TLSVerify {
				t.Errorf("TLS is %v", rr.TLS)
			}
		})
	})
}
