package smtptest

import (
	"strconv"
	"strings"
)

// extensions are what the newest reply to EHLO offered: keyword to parameters.
type extensions map[string]string

// offered are the lines a Host puts into its reply to EHLO.
func (s *session) offered() []string {
	list := s.host.Extensions
	if s.tls && s.host.ExtensionsTLS != nil {
		list = s.host.ExtensionsTLS
	}
	var kept []string
	for _, line := range list {
		if keyword, _, _ := strings.Cut(line, " "); s.tls && strings.EqualFold(keyword, "STARTTLS") {
			continue
		}
		kept = append(kept, line)
	}
	return kept
}

func parseExtensions(list []string) extensions {
	e := extensions{}
	for _, line := range list {
		keyword, args, _ := strings.Cut(line, " ")
		keyword = strings.ToUpper(keyword)
		// Some hosts list mechanisms in several lines, or as before RFC 2554.
		if first, old := strings.CutPrefix(keyword, "AUTH="); old {
			keyword, args = "AUTH", first+" "+args
		}
		if keyword == "AUTH" && e[keyword] != "" {
			args = e[keyword] + " " + args
		}
		e[keyword] = args
	}
	return e
}

func (e extensions) has(keyword string) bool {
	_, ok := e[keyword]
	return ok
}

// size returns the largest accepted message; 0 means no limit (RFC 1870 section 3).
func (e extensions) size() int64 {
	n, err := strconv.ParseInt(e["SIZE"], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// limit returns a value of the LIMITS extension (RFC 9422), or 0 if there is none.
func (e extensions) limit(name string) int {
	for field := range strings.FieldsSeq(e["LIMITS"]) {
		key, value, _ := strings.Cut(field, "=")
		if n, err := strconv.Atoi(value); err == nil && strings.EqualFold(key, name) {
			return n
		}
	}
	return 0
}

// paramKeyword returns the extension that a parameter of MAIL or RCPT requires, or ""
// if there is no such parameter.
func paramKeyword(verb, name, value string) string {
	switch verb + " " + name {
	case "MAIL BODY":
		if strings.EqualFold(value, "BINARYMIME") {
			return "BINARYMIME"
		}
		return "8BITMIME"
	case "MAIL RET", "MAIL ENVID", "RCPT NOTIFY", "RCPT ORCPT":
		return "DSN"
	case "MAIL BY":
		return "DELIVERBY"
	case "MAIL HOLDFOR", "MAIL HOLDUNTIL":
		return "FUTURERELEASE"
	case "MAIL SIZE", "MAIL SMTPUTF8", "MAIL AUTH", "MAIL REQUIRETLS", "MAIL MT-PRIORITY", "RCPT RRVS":
		return name
	default:
		return ""
	}
}
