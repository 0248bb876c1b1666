package smarthost

import (
	"strconv"
	"strings"

	"github.com/nexthop-mail/nexthop/mx"
)

// URL returns the host as a URL that Parse can read, including its secrets. Use it for a
// file that only its owner can read, never for a log. A Certificate, an Authorize identity
// and a TokenSource have no notation and are left out.
func (h Host) URL() string {
	var userinfo string
	if l := h.Login; l != nil {
		secret := l.Password
		if token, ok := l.Token.(StaticToken); ok {
			secret = string(token)
		}
		userinfo = escape(l.User) + ":" + escape(secret) + "@"
	}
	return h.notation(userinfo)
}

// String returns the host as a URL without its secrets. Parse refuses it if a password is
// left out.
func (h Host) String() string {
	if h.Login == nil {
		return h.notation("")
	}
	return h.notation(escape(h.Login.LoginName()) + "@")
}

// notation is the URL with the userinfo given.
func (h *Host) notation(userinfo string) string {
	scheme := h.scheme()
	var b strings.Builder
	b.WriteString(scheme)
	b.WriteString("://")
	b.WriteString(userinfo)
	b.WriteString(showName(h.Name))
	if port := h.port(); h.Lookup != LookupSRV && port != defaultPort(scheme) {
		b.WriteByte(':')
		b.WriteString(strconv.Itoa(int(port)))
	}
	mark := byte('?')
	param := func(key, value string) {
		b.WriteByte(mark)
		b.WriteString(key)
		b.WriteByte('=')
		b.WriteString(value)
		mark = '&'
	}
	switch h.Lookup {
	case LookupMX:
		param("mx", "1")
	case LookupSRV:
		param("srv", "1")
	}
	for _, t := range h.Targets {
		param("target", t)
	}
	if level := h.level(); level != defaultLevel(scheme, h.Login != nil) && int(level) < len(levelWords) {
		param("tls", levelWords[level])
	}
	if n, ok := h.Preference.Value(); ok {
		param("pref", strconv.Itoa(int(n)))
	}
	if h.Login != nil && h.Login.Mechanism != "" {
		param("auth", strings.ToLower(h.Login.Mechanism))
	}
	return b.String()
}

// scheme is the one whose defaults are the host's own.
func (h *Host) scheme() string {
	switch {
	case h.Lookup == LookupSRV, h.port() == portSubmission && !h.ImplicitTLS && h.level() >= mx.TLSEncrypt:
		return schemeSubmission
	case h.ImplicitTLS:
		return schemeSMTPS
	default:
		return schemeSMTP
	}
}

// showName is a name as URLs have it: "[::1]" for "[IPv6:::1]".
func showName(name string) string {
	canonical, reason := canonicalName(name)
	if reason != "" {
		return ""
	}
	if ip, ok := strings.CutPrefix(canonical, "[IPv6:"); ok {
		return "[" + strings.Replace(ip, "%", "%25", 1)
	}
	return canonical
}
