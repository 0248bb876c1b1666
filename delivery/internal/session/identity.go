package session

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/internal/address"
	"github.com/nexthop-mail/nexthop/mx"
)

// identify completes the policy of a host with the names its certificate may bear,
// unless the policy has said that itself.
func (c *Config) identify(p *Policy, host *mx.Host) {
	if p.ServerName != "" {
		return
	}
	names := host.Identities
	if len(names) == 0 {
		names = []string{host.Name}
	}
	for _, name := range names {
		if p.ServerName == "" && !isServiceName(name) {
			p.ServerName = certificateName(name)
		}
	}
	if p.Verify == nil && (len(names) > 1 || isServiceName(names[0])) {
		p.Verify = c.bearsOneOf(slices.Clone(names))
		p.Key += "one of " + strings.Join(names, " ")
	}
}

// isServiceName tells an SRV-ID from a DNS-ID.
func isServiceName(name string) bool { return strings.HasPrefix(name, "_") }

var errOtherNames = errors.New("the certificate is for other names")

// bearsOneOf checks the chain first and then the names (RFC 9525 section 6). The check
// of package tls is for one name, and does not support SRV-IDs.
func (c *Config) bearsOneOf(names []string) func(tls.ConnectionState) error {
	options := x509.VerifyOptions{}
	now := time.Now
	if t := c.TLSConfig; t != nil {
		options.Roots = t.RootCAs
		if t.Time != nil {
			now = t.Time
		}
	}
	return func(state tls.ConnectionState) error {
		leaf, options := state.PeerCertificates[0], options // a server has one at least
		options.CurrentTime = now()
		options.Intermediates = x509.NewCertPool()
		for _, i := range state.PeerCertificates[1:] {
			options.Intermediates.AddCert(i)
		}
		if _, err := leaf.Verify(options); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		for _, name := range names {
			if isServiceName(name) && slices.ContainsFunc(serviceNames(leaf), func(s string) bool { return strings.EqualFold(s, name) }) ||
				!isServiceName(name) && leaf.VerifyHostname(certificateName(name)) == nil {
				return nil
			}
		}
		return errOtherNames
	}
}

// otherName is one kind of subject alternative name (RFC 5280 section 4.2.1.6).
type otherName struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// serviceNames are the SRV-IDs of a certificate (RFC 4985), such as
// "_submissions.example.com". Package x509 does not read them.
func serviceNames(c *x509.Certificate) []string {
	subjectAltName := asn1.ObjectIdentifier{2, 5, 29, 17}
	dnsSRV := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}
	var found []string
	for _, extension := range c.Extensions {
		if !extension.Id.Equal(subjectAltName) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(extension.Value, &names); err != nil || len(rest) > 0 {
			return nil
		}
		for _, n := range names {
			// A value that cannot be parsed has no kind. No other kind of string is an
			// SRVName.
			var other otherName
			var value asn1.RawValue
			_, _ = asn1.UnmarshalWithParams(n.FullBytes, &other, "tag:0")
			rest, _ := asn1.Unmarshal(other.Value.Bytes, &value)
			if other.Type.Equal(dnsSRV) && len(rest) == 0 && value.Class == asn1.ClassUniversal && value.Tag == asn1.TagIA5String {
				found = append(found, string(value.Bytes))
			}
		}
	}
	return found
}

// certificateName is what a host's certificate must be for: its name, or the
// address alone if that is an address literal.
func certificateName(host string) string {
	d, _ := address.ParseDomain(host) // an invalid domain is not a literal
	if ip, ok := d.Literal(); ok {
		return ip.String()
	}
	return host
}
