package dane

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"strings"
	"time"
)

// Limits of the work for one connection. Otherwise a domain could publish, and its host
// send, so much that a comparison takes minutes.
const (
	mostCertificates = 64   // of a chain
	mostPaths        = 16   // to different authorities
	mostSignatures   = 64   // checked with the bare keys of authorities
	mostBits         = 8192 // of an RSA key, as in package tls
)

// comparison compares the chain that a host has sent with records.
type comparison struct {
	policy *Policy
	chain  []*x509.Certificate // not empty
	now    time.Time

	selected   map[selection][]byte
	paths      map[string]Fate // by authority
	signatures int             // checked so far
}

// tooLarge reports whether it takes too long to check a signature with a key.
func tooLarge(key any) bool {
	k, ok := key.(*rsa.PublicKey)
	return ok && k.N.BitLen() > mostBits
}

// selection is a part of a certificate that a record can be about.
type selection struct {
	depth              int
	selector, matching uint8
}

func (p *Policy) compare(chain []*x509.Certificate, now time.Time) *comparison {
	return &comparison{
		policy: p, chain: chain[:min(len(chain), mostCertificates)], now: now,
		selected: make(map[selection][]byte), paths: make(map[string]Fate),
	}
}

// matches reports whether a record is about a certificate of the chain.
func (c *comparison) matches(r *Record, depth int) bool {
	s := selection{depth, r.Selector, r.MatchingType}
	data, known := c.selected[s]
	if !known {
		data = r.selected(c.chain[depth])
		c.selected[s] = data
	}
	return bytes.Equal(data, r.Data)
}

// match compares the chain with a record that counts.
func (c *comparison) match(r *Record) {
	r.Fate = NoMatch
	switch {
	case r.Usage == DANETA:
		c.matchAuthority(r)
	case c.matches(r, 0):
		// Only the key or the certificate is compared (RFC 7671 section 5.1).
		r.Fate = Matched
	}
}

// matchAuthority looks for the authority that a record is about: among the certificates
// that issue others, in the record, or as the key that has signed one (RFC 7671
// section 5.2).
func (c *comparison) matchAuthority(r *Record) {
	better := func(f Fate, depth int) {
		if closeness(f) > closeness(r.Fate) {
			r.Fate, r.Depth = f, depth
		}
	}
	for depth := 1; depth < len(c.chain); depth++ {
		// The host's own certificate, sent twice, is not its own authority.
		if c.matches(r, depth) && !bytes.Equal(c.chain[depth].Raw, c.chain[0].Raw) {
			better(c.path(c.chain[depth]), depth)
		}
	}
	if r.MatchingType != Full || r.Fate != NoMatch {
		return // if the authority was sent, the sent certificate counts
	}
	if r.Selector == Cert {
		if authority, err := x509.ParseCertificate(r.Data); err == nil && !bytes.Equal(authority.Raw, c.chain[0].Raw) {
			if f := c.path(authority); f != BadChain {
				better(f, len(c.chain))
			}
		}
		return
	}
	key, err := x509.ParsePKIXPublicKey(r.Data)
	if err != nil {
		return
	}
	if tooLarge(key) {
		better(NotTried, 0)
		return
	}
	authority := x509.Certificate{PublicKey: key}
	for depth, cert := range c.chain {
		if c.signatures == mostSignatures {
			better(NotTried, depth)
			return
		}
		c.signatures++
		if authority.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil {
			better(c.path(cert), depth)
		}
	}
}

// closeness orders fates by how little is missing.
func closeness(f Fate) int {
	switch f {
	case Matched:
		return 5
	case NameMismatch:
		return 4
	case Expired:
		return 3
	case BadChain:
		return 2
	case NotTried:
		return 1
	default:
		return 0
	}
}

// path returns the fate of the chain from the host's certificate to an authority. If
// the key of an authority has signed a certificate, that is the last one of the chain.
func (c *comparison) path(authority *x509.Certificate) Fate {
	f, known := c.paths[string(authority.Raw)]
	if known {
		return f
	}
	if len(c.paths) == mostPaths || tooLarge(authority.PublicKey) {
		return NotTried
	}
	f = c.verify(authority)
	c.paths[string(authority.Raw)] = f
	return f
}

// verify is path without a memory.
func (c *comparison) verify(authority *x509.Certificate) Fate {
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: c.now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	// An authority is a name and a key: how long it trusts itself plays no part (RFC 5280
	// section 6.1.1).
	anchor := *authority
	if cert := c.chain[0]; !bytes.Equal(anchor.Raw, cert.Raw) {
		anchor.NotBefore, anchor.NotAfter = c.now, c.now
	}
	options.Roots.AddCert(&anchor)
	for _, cert := range c.chain[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := c.chain[0].Verify(options); err != nil {
		if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
			return Expired
		}
		return BadChain
	}
	if !hasName(c.chain[0], c.policy.Names) {
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
