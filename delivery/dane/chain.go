package dane

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"time"
)

// match compares the chain that a host has sent, which is not empty, with a record that
// counts.
func (p *Policy) match(r *Record, chain []*x509.Certificate, now time.Time) {
	r.Fate = NoMatch
	switch {
	case r.Usage == DANETA:
		p.matchAuthority(r, chain, now)
	case r.matches(chain[0]):
		// Only the key or the certificate is compared (RFC 7671 section 5.1).
		r.Fate = Matched
	}
}

// matchAuthority looks for the authority that a record is about: among the certificates
// that issue others, in the record, or as the key that has signed one (RFC 7671
// section 5.2).
func (p *Policy) matchAuthority(r *Record, chain []*x509.Certificate, now time.Time) {
	better := func(f Fate, depth int) {
		if closeness(f) > closeness(r.Fate) {
			r.Fate, r.Depth = f, depth
		}
	}
	for depth := 1; depth < len(chain); depth++ {
		// The host's own certificate, sent twice, is not its own authority.
		if r.matches(chain[depth]) && !bytes.Equal(chain[depth].Raw, chain[0].Raw) {
			better(p.path(chain, chain[depth], now), depth)
		}
	}
	if r.MatchingType != Full || r.Fate != NoMatch {
		return // if the authority was sent, the sent certificate counts
	}
	if r.Selector == Cert {
		if authority, err := x509.ParseCertificate(r.Data); err == nil && !bytes.Equal(authority.Raw, chain[0].Raw) {
			if f := p.path(chain, authority, now); f != BadChain {
				better(f, len(chain))
			}
		}
		return
	}
	key, err := x509.ParsePKIXPublicKey(r.Data)
	if err != nil {
		return
	}
	authority := x509.Certificate{PublicKey: key}
	for depth, cert := range chain {
		if authority.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil {
			better(p.path(chain, cert, now), depth)
		}
	}
}

// closeness orders fates by how little is missing.
func closeness(f Fate) int {
	switch f {
	case Matched:
		return 4
	case NameMismatch:
		return 3
	case Expired:
		return 2
	case BadChain:
		return 1
	default:
		return 0
	}
}

// path returns the fate of the chain from the host's certificate to an authority. If
// the key of an authority has signed a certificate, that is the last one of the chain.
func (p *Policy) path(chain []*x509.Certificate, authority *x509.Certificate, now time.Time) Fate {
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	// An authority is a name and a key: how long it trusts itself plays no part (RFC 5280
	// section 6.1.1).
	anchor := *authority
	if cert := chain[0]; !bytes.Equal(anchor.Raw, cert.Raw) {
		anchor.NotBefore, anchor.NotAfter = now, now
	}
	options.Roots.AddCert(&anchor)
	for _, cert := range chain[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := chain[0].Verify(options); err != nil {
		if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
			return Expired
		}
		return BadChain
	}
	if !hasName(chain[0], p.Names) {
		return NameMismatch
	}
	return Matched
}

// hasName reports whether a certificate is for one of the names (RFC 7672 section
// 3.2.3). The common name counts only if there are no DNS names.
func hasName(cert *x509.Certificate, names []string) bool {
	bears := cert.DNSNames
	if len(bears) == 0 {
		bears = []string{cert.Subject.CommonName}
	}
	for _, pattern := range bears {
		for _, name := range names {
			if matchName(pattern, name) {
				return true
			}
		}
	}
	return false
}

// matchName reports whether a name in a certificate matches a host. A wildcard must be
// the whole first label, and matches exactly one.
func matchName(pattern, host string) bool {
	pattern, host = fold(pattern), fold(host)
	if rest, wild := strings.CutPrefix(pattern, "*."); wild {
		_, parent, below := strings.Cut(host, ".")
		return below && parent == rest
	}
	return pattern == host
}

// fold is a name in lower case, of the letters of ASCII alone: some others have those as
// their small letters.
func fold(name string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}, name)
}
