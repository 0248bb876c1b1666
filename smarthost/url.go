package smarthost

import (
	"slices"
	"strconv"
	"strings"

	"github.com/nexthop-mail/nexthop/mx"
)

// The schemes of URLs.
const (
	schemeSMTP       = "smtp"
	schemeSMTPS      = "smtps"
	schemeSubmission = "submission"
)

// levelWords are the TLS levels as URLs name them.
var levelWords = [...]string{mx.TLSNone: "none", mx.TLSMay: "may", mx.TLSEncrypt: "encrypt", mx.TLSVerify: "verify"}

// mechanisms are the names that auth= takes, in lower case.
var mechanisms = [...]string{"plain", "login", "cram-md5", "scram-sha-256", "oauthbearer", "xoauth2"}

// urlReader is a URL on its way to a Host.
type urlReader struct {
	host   Host
	scheme string
	seen   []string // parameters so far
	user   string
	secret string
	auth   string
	ported bool // the port was named
}

// parseURL reads what follows "scheme://".
func parseURL(scheme, rest string) (Host, *Error) {
	r := urlReader{scheme: scheme}
	switch scheme {
	case schemeSMTP, schemeSMTPS, schemeSubmission:
	default:
		return Host{}, malformed("unknown scheme; use smtp, smtps or submission")
	}
	if err := r.read(rest); err != nil {
		// Only a recognised host is shown, never text found in its place.
		err.Input = scheme + "://"
		if r.user != "" {
			err.Input += "...@"
		}
		err.Input += showName(r.host.Name)
		return Host{}, err
	}
	h, err := r.host.canonical()
	if err != nil {
		err.Input = scheme + "://" + showName(r.host.Name)
	}
	return h, err
}

func (r *urlReader) read(rest string) *Error {
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if strings.Contains(tail, "@") {
		return malformed(`a "/", "?" or "#" before the "@"; in a user name or password they are %2F, %3F and %23`)
	}
	place := authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		var reason string
		if r.user, r.secret, reason = parseUserinfo(authority[:i]); reason != "" {
			return malformed(reason)
		}
		place = authority[i+1:]
	}
	if reason := r.readPlace(place); reason != "" {
		return malformed(reason)
	}
	query, ok := strings.CutPrefix(strings.TrimPrefix(tail, "/"), "?")
	if !ok && query != "" {
		return malformed("unexpected text after the host")
	}
	if ok {
		for param := range strings.SplitSeq(query, "&") {
			if err := r.readParam(param); err != nil {
				return err
			}
		}
	}
	return r.finish()
}

// readPlace reads the host and the port. RFC 6874 writes the percent sign before a
// zone as %25.
func (r *urlReader) readPlace(place string) (reason string) {
	if strings.HasPrefix(place, "[") {
		place = strings.Replace(place, "%25", "%", 1)
	}
	_, port, _ := splitPort(place)
	r.ported = port != ""
	if reason := r.host.readPlace(place); reason != "" {
		return reason
	}
	r.host.Lookup = LookupAddress
	return ""
}

// readParam reads one parameter.
func (r *urlReader) readParam(param string) *Error {
	key, value, _ := strings.Cut(param, "=")
	if slices.Contains(r.seen, key) && key != "target" {
		return malformed("a parameter is repeated")
	}
	r.seen = append(r.seen, key)
	switch key {
	case "tls":
		level := slices.Index(levelWords[:], value)
		if level < 0 || value == "" {
			return malformed("tls=: want none, may, encrypt or verify")
		}
		r.host.TLS = mx.TLSLevel(level)
	case "pref":
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return malformed("pref=: want a number from 0 to 65535")
		}
		r.host.Preference = Prefer(uint16(n))
	case "auth":
		r.auth = strings.ToLower(value)
		if !slices.Contains(mechanisms[:], r.auth) {
			return &Error{Reason: "auth=: unknown mechanism; use one of " + strings.Join(mechanisms[:], ", "), Unsupported: true}
		}
	case "mx":
		return r.readLookup(value, LookupMX, "mx=: the only value is 1")
	case "srv":
		return r.readLookup(value, LookupSRV, "srv=: the only value is 1")
	case "target":
		r.host.Targets = append(r.host.Targets, value)
	default:
		return malformed("unknown parameter; use tls, pref, auth, mx, srv or target")
	}
	return nil
}

func (r *urlReader) readLookup(value string, l Lookup, reason string) *Error {
	switch {
	case value != "1":
		return malformed(reason)
	case r.host.Lookup != LookupAddress:
		return malformed("mx=1 and srv=1 cannot be combined")
	}
	r.host.Lookup = l
	return nil
}

// finish applies what the scheme and the user stand for.
func (r *urlReader) finish() *Error {
	h := &r.host
	if h.Lookup == LookupSRV && (r.scheme != schemeSubmission || r.ported) {
		return malformed("srv=1 requires submission:// and no port")
	}
	h.ImplicitTLS = r.scheme == schemeSMTPS
	switch {
	case h.Lookup == LookupSRV:
		h.Port = 0
	case !r.ported:
		h.Port = defaultPort(r.scheme)
	}
	if r.auth != "" && r.user == "" {
		return malformed("auth= without a user")
	}
	if r.user != "" {
		h.Login = newLogin(r.user, r.secret, r.auth)
	}
	if h.TLS == mx.TLSDefault {
		h.TLS = defaultLevel(r.scheme, h.Login != nil)
	}
	return nil
}

func defaultPort(scheme string) uint16 {
	switch scheme {
	case schemeSMTPS:
		return portSubmissions
	case schemeSubmission:
		return portSubmission
	default:
		return portSMTP
	}
}

func defaultLevel(scheme string, login bool) mx.TLSLevel {
	switch {
	case login:
		return mx.TLSVerify
	case scheme == schemeSMTP:
		return mx.TLSDefault
	default:
		return mx.TLSEncrypt
	}
}

// newLogin is the login of a URL. With a mechanism of OAuth the secret is a token.
func newLogin(user, secret, auth string) *Login {
	l := &Login{User: user, Mechanism: strings.ToUpper(auth)}
	if auth == "oauthbearer" || auth == "xoauth2" {
		l.Token = StaticToken(secret)
	} else {
		l.Password = secret
	}
	return l
}
