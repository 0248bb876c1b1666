package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx"
)

// tlsRule is what a rule of -limits says of TLS. Of several rules that match, each field is
// that of the most specific one that sets it.
type tlsRule struct {
	match        delivery.Match
	level        *mx.TLSLevel
	min          uint16
	fingerprints [][sha256.Size]byte
	certificate  *tls.Certificate
	files        []string
}

var tlsLevels = map[string]mx.TLSLevel{
	"none": mx.TLSNone, "may": mx.TLSMay, "encrypt": mx.TLSEncrypt, "verify": mx.TLSVerify,
	"fingerprint": mx.TLSVerify, // in another way
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
	if known, ok := tlsLevels[level]; ok {
		rule.level = &known
	}
	rule.min = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[min]
	switch {
	case level == "dane-only":
		r.wrong(n.line, path+".level", "this relay does not know DANE")
	case level != "" && rule.level == nil:
		r.wrong(n.line, path+".level", "%q is none of none, may, encrypt, verify, fingerprint", level)
	case min != "" && rule.min == 0:
		r.wrong(n.line, path+".min", "%q is neither 1.2 nor 1.3", min)
	case min != "" && (level == "none" || level == "may"):
		r.wrong(n.line, path+".min", "mail that may go in clear needs no version of TLS; level encrypt wants TLS")
	case level == "fingerprint" && len(rule.fingerprints) == 0:
		r.wrong(n.line, path+".fingerprints", "level fingerprint needs some")
	case level != "fingerprint" && len(rule.fingerprints) > 0:
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
		rule.certificate, rule.files = &pair, []string{cert, key}
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
		r.wrong(n.line, path, "%q is no SHA-256 in hexadecimal digits", text)
	}
	rule.fingerprints = append(rule.fingerprints, sum)
}

// tlsRules is the PolicySource of the rules in force, which may be replaced at any time.
type tlsRules struct {
	base  mx.TLSLevel // of -tls
	rules atomic.Pointer[[]tlsRule]
}

// set replaces the rules.
func (t *tlsRules) set(list []tlsRule) {
	list = slices.Clone(list)
	for i := range list {
		m := &list[i].match
		m.Domain, m.MX, m.Site = strings.ToLower(m.Domain), strings.ToLower(m.MX), strings.ToLower(m.Site)
	}
	kind := func(r *tlsRule) (int, int) {
		switch m := &r.match; {
		case m.Site != "":
			return 0, 0
		case m.Domain != "":
			return 1, -len(m.Domain)
		default:
			return 2, -len(m.MX)
		}
	}
	slices.SortStableFunc(list, func(a, b tlsRule) int {
		akind, along := kind(&a)
		bkind, blong := kind(&b)
		return cmp.Or(cmp.Compare(akind, bkind), cmp.Compare(along, blong))
	})
	t.rules.Store(&list)
}

// at is what holds for a host of a route; none is whether no rule matches.
func (t *tlsRules) at(route *mx.Route, host *mx.Host) (merged tlsRule, none bool) {
	none = true
	site := siteName(route.Hosts)
	for i := range *t.rules.Load() {
		r := &(*t.rules.Load())[i]
		m := &r.match
		if m.Site != site && !below(route.Domain, m.Domain, false) && !below(host.Name, m.MX, true) {
			continue
		}
		none = false
		if merged.level == nil && r.level != nil {
			merged.level, merged.fingerprints = r.level, r.fingerprints
		}
		merged.min = cmp.Or(merged.min, r.min)
		merged.certificate = cmp.Or(merged.certificate, r.certificate)
	}
	return merged, none
}

// below reports whether a name fits a pattern: it is that, or below it where that begins
// with a dot, or with suffix in any case.
func below(name, pattern string, suffix bool) bool {
	switch {
	case pattern == "":
		return false
	case name == pattern:
		return true
	case strings.HasPrefix(pattern, "."):
		return strings.HasSuffix(name, pattern)
	default:
		return suffix && strings.HasSuffix(name, "."+pattern)
	}
}

// siteName is the name of the site of hosts that MX records lead to, as relay sites
// shows it.
func siteName(hosts []mx.Host) string {
	if len(hosts) == 1 {
		return hosts[0].Name
	}
	var groups []string
	for from := 0; from < len(hosts); {
		to := from + 1
		for to < len(hosts) && hosts[to].Preference == hosts[from].Preference {
			to++
		}
		var names []string
		for i := range hosts[from:to] {
			names = append(names, hosts[from+i].Name)
		}
		slices.Sort(names)
		groups = append(groups, strings.Join(names, ",")+";")
		from = to
	}
	return strings.Join(groups, ",")
}

var errOtherCertificate = errors.New("the certificate has none of the fingerprints of -limits")

// TLSPolicy is what the rules say of a host.
func (t *tlsRules) TLSPolicy(_ context.Context, route *mx.Route, host *mx.Host) (delivery.TLSPolicy, error) {
	r, none := t.at(route, host)
	p := delivery.TLSPolicy{Level: t.base, Exact: true}
	if none {
		return p, nil
	}
	if r.level != nil {
		p.Level = *r.level
	}
	p.MinVersion, p.Certificate = r.min, r.certificate
	key := sha256.New()
	fmt.Fprintln(key, r.min, len(r.fingerprints))
	if r.certificate != nil {
		for _, octets := range r.certificate.Certificate {
			fmt.Fprintf(key, "%x\n", octets)
		}
	}
	for _, f := range r.fingerprints {
		fmt.Fprintf(key, "%x\n", f)
	}
	p.Key = "-limits " + hex.EncodeToString(key.Sum(nil))
	if list := r.fingerprints; len(list) > 0 {
		p.Verify = func(state tls.ConnectionState) error {
			if !slices.Contains(list, sha256.Sum256(state.PeerCertificates[0].Raw)) {
				return errOtherCertificate
			}
			return nil
		}
	}
	return p, nil
}
