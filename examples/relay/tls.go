package main

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery/trust"
)

// tlsRule is the part of a rule of -limits about TLS, with the files that it names.
type tlsRule struct {
	trust.Rule
	files []string
}

// trust are the rules about TLS.
func (f *limitsFile) trust() (rules []trust.Rule) {
	for i := range f.tls {
		rules = append(rules, f.tls[i].Rule)
	}
	return rules
}

// tlsRule takes the tls of a rule.
func (r *limitsReader) tlsRule(n node, path string) *tlsRule {
	var (
		rule                  tlsRule
		level, min, cert, key string
	)
	before := len(r.problems)
	r.object(n, path, map[string]field{
		"level": r.text(&level), "min": r.text(&min), "cert": r.text(&cert), "key": r.text(&key),
		"fingerprints": r.list(func(n node, path string) { r.fingerprint(n, path, &rule) }),
	})
	if len(r.problems) > before {
		return &rule
	}
	var err error
	if level != "" {
		err = rule.Level.UnmarshalText([]byte(level))
	}
	rule.MinVersion = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[min]
	switch {
	case err != nil || level == trust.Unset.String():
		r.wrong(n.line, path+".level", "unknown level %q; use none, may, encrypt, verify, dane, dane-only or fingerprint", level)
	case min != "" && rule.MinVersion == 0:
		r.wrong(n.line, path+".min", "unknown version %q; use 1.2 or 1.3", min)
	case min != "" && (level == "none" || level == "may"):
		r.wrong(n.line, path+".min", "mail that may go in clear needs no version of TLS; level encrypt wants TLS")
	case level == "fingerprint" && len(rule.Fingerprints) == 0:
		r.wrong(n.line, path+".fingerprints", "level fingerprint needs some")
	case level != "fingerprint" && len(rule.Fingerprints) > 0:
		r.wrong(n.line, path+".fingerprints", "they go with level fingerprint")
	case (cert == "") != (key == ""):
		r.wrong(n.line, path, "cert and key go together")
	case level == "" && min == "" && cert == "":
		r.wrong(n.line, path, "it sets nothing")
	case cert != "":
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			r.wrong(n.line, path+".cert", "%w", err)
		}
		rule.Certificate, rule.files = &pair, []string{cert, key}
	}
	return &rule
}

// fingerprint takes the SHA-256 of a certificate, in hexadecimal digits with or without
// colons, as openssl x509 -fingerprint -sha256 prints it.
func (r *limitsReader) fingerprint(n node, path string, rule *tlsRule) {
	text, _ := n.value.(string)
	digits := strings.ReplaceAll(strings.TrimPrefix(strings.ToLower(text), "sha256:"), ":", "")
	var sum [sha256.Size]byte
	if octets, err := hex.DecodeString(digits); err != nil || copy(sum[:], octets) != len(sum) || len(octets) != len(sum) {
		r.wrong(n.line, path, "%q is not a SHA-256 fingerprint in hexadecimal digits", text)
	}
	rule.Fingerprints = append(rule.Fingerprints, sum)
}
