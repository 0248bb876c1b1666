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
		e[strings.ToUpper(keyword)] = args
	}
	return e
}

func (e extensions) has(keyword string) bool {
	_, ok := e[keyword]
	return ok
}

// size is the largest message that is taken; 0 is no limit (RFC 1870 section 3).
func (e extensions) size() int64 {
	n, err := strconv.ParseInt(e["SIZE"], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// limit is a value of the LIMITS extension (RFC 9422); 0 is none.
func (e extensions) limit(name string) int {
	for field := range strings.FieldsSeq(e["LIMITS"]) {
		key, value, _ := strings.Cut(field, "=")
		if n, err := strconv.Atoi(value); err == nil && strings.EqualFold(key, name) {
			return n
		}
	}
	return 0
}

// paramKeywords is the extension that each parameter of MAIL and RCPT needs.
var paramKeywords = map[string]map[string]string{
	"MAIL": {
		"SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "RET": "DSN", "ENVID": "DSN",
		"AUTH": "AUTH", "REQUIRETLS": "REQUIRETLS", "BY": "DELIVERBY", "HOLDFOR": "FUTURERELEASE",
		"HOLDUNTIL": "FUTURERELEASE", "MT-PRIORITY": "MT-PRIORITY",
	},
	"RCPT": {"NOTIFY": "DSN", "ORCPT": "DSN", "RRVS": "RRVS"},
}
