package smarthost

import (
	"strings"
	"unicode/utf8"
)

// maxInput bounds a notation; the longest thing in one is a bearer token.
const maxInput = 64 << 10

// Parse reads one smart host in one of the following notations. The error is an *[Error]
// and contains no secret.
//
// A URL, with its own defaults:
//
//	smtp://host               port 25, TLS as the sender has it
//	smtps://host              port 465, TLS from the start
//	submission://host         port 587, STARTTLS required
//	smtp://user:pass@host     log in; %40 is an "@" in either of them
//	smtp://[192.0.2.1]:2525   an address; [::1], [fe80::1%25eth0]
//	...?tls=LEVEL             none, may, encrypt or verify
//	...?pref=N                Preference
//	...?auth=MECHANISM        the only mechanism to log in with: plain, login,
//	                          cram-md5, scram-sha-256, oauthbearer, xoauth2
//	...?mx=1                  look the host up by MX records
//	submission://domain?srv=1 by SRV records; &target=NAME, more than once, names
//	                          hosts outside the domain that they may lead to
//
// With a user, the default level is verify. tls=encrypt and tls=none are explicit consent
// to less. tls=may is refused with a user, because an attacker on the way could then read
// the password. With oauthbearer and xoauth2 the password is a bearer token.
//
// Postfix's notation: "[host]:port" and "[host]" by address, "host:port" and "host" by MX
// records, an IP address and localhost always by address.
//
// Sendmail's notation: "esmtp:[host]" by address, "esmtp:host" by MX records; the
// mailers smtp, smtp8 and relay mean the same. A port may follow, as in Postfix's
// transport tables.
func Parse(s string) (Host, error) {
	h, err := parse(s)
	if err != nil {
		return Host{}, err
	}
	return h, nil
}

// ParseList reads one or more smart hosts. In Postfix's notation they are separated by
// blanks or commas, in sendmail's by colons, as in "esmtp:[one]:[two]". They are tried in
// the order given. The error is an *[Error] and contains no secret.
func ParseList(s string) ([]Host, error) {
	if reason := checkCharacters(s); reason != "" {
		return nil, malformed(reason)
	}
	var items []string
	mailer, rest, isSendmail := cutMailer(s)
	switch {
	case strings.Contains(s, "://"):
		items = []string{s}
	case isSendmail:
		for _, item := range splitMailerHosts(rest) {
			items = append(items, mailer+":"+item)
		}
	default:
		items = strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
	}
	if len(items) == 0 {
		return nil, malformed("the host is missing")
	}
	hosts := make([]Host, 0, len(items))
	for _, item := range items {
		h, err := parse(item)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

// parse reads one host and gives it canonical names.
func parse(s string) (Host, *Error) {
	if reason := checkCharacters(s); reason != "" {
		return Host{}, malformed(reason)
	}
	scheme, rest, isURL := strings.Cut(s, "://")
	if isURL {
		return parseURL(strings.ToLower(scheme), rest)
	}
	if strings.Contains(s, "@") {
		return Host{}, malformed(`a user name needs a URL, such as submission://user:password@host`)
	}
	h := Host{Lookup: LookupMX}
	if _, rest, ok := cutMailer(s); ok {
		s = rest
	}
	if reason := h.readPlace(s); reason != "" {
		return Host{}, malformed(reason)
	}
	return h.canonical()
}

// checkCharacters refuses what no notation contains.
func checkCharacters(s string) string {
	switch {
	case s == "":
		return "the host is missing"
	case len(s) > maxInput:
		return "longer than 64 KiB"
	case !utf8.ValidString(s):
		return "not UTF-8"
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "it has a control character"
	}
	return ""
}

// readPlace reads "host", "host:port", "[host]" and "[host]:port". In brackets a
// host is asked for by address; an IP address and localhost always are.
func (h *Host) readPlace(s string) (reason string) {
	name, port, reason := splitPort(s)
	if reason != "" {
		return reason
	}
	h.Port = portSMTP
	if port != "" {
		if h.Port, reason = parsePort(port); reason != "" {
			return reason
		}
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		h.Lookup = LookupAddress
		inner = strings.TrimSuffix(inner, "]")
		if !strings.Contains(inner, ":") {
			name = inner // a name, or an IPv4 address
		}
	}
	if h.Name, reason = canonicalName(name); strings.HasPrefix(h.Name, "[") || h.Name == "localhost" {
		h.Lookup = LookupAddress // these have no MX records
	}
	return reason
}

// cutMailer removes sendmail's mailer from "mailer:host". The rest of "relay:25" would
// be a port, so "relay" is the name of a host in Postfix's notation.
func cutMailer(s string) (mailer, rest string, ok bool) {
	mailer, rest, ok = strings.Cut(s, ":")
	if !ok || isDigits(rest) {
		return "", "", false
	}
	switch strings.ToLower(mailer) {
	case "smtp", "esmtp", "smtp8", "relay":
		return mailer, rest, !strings.HasPrefix(rest, "//")
	default:
		return "", "", false
	}
}

// splitMailerHosts splits "[a]:b:25:c" into "[a]", "b:25" and "c": a number belongs
// to the host before it.
func splitMailerHosts(s string) []string {
	var items []string
	depth, start := 0, 0
	add := func(item string) {
		if n := len(items); n > 0 && isDigits(item) && !hasPort(items[n-1]) {
			items[n-1] += ":" + item
			return
		}
		items = append(items, item)
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '[':
			depth++
		case s[i] == ']':
			depth--
		case s[i] == ':' && depth == 0:
			add(s[start:i])
			start = i + 1
		}
	}
	add(s[start:])
	return items
}

// hasPort is whether an item ends in a port already.
func hasPort(item string) bool {
	_, port, _ := splitPort(item)
	return port != ""
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
