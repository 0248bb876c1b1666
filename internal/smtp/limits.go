package smtp

import (
	"strconv"
	"strings"
)

// ServerLimits are the limits a server states (RFC 9422). Zero means no limit.
type ServerLimits struct {
	MailMax       int // MAIL commands of a session
	RcptMax       int // RCPT commands of a transaction
	RcptDomainMax int // recipient domains of a session
}

// parseLimits parses the parameters of LIMITS (RFC 9422 section 3). If the syntax as a
// whole is invalid, or a limit is stated twice, all are ignored; if a value is invalid,
// only that limit.
func parseLimits(params string) ServerLimits {
	var (
		l                  ServerLimits
		mail, rcpt, domain bool
	)
	if params == "" {
		return l
	}
	for item := range strings.SplitSeq(params, " ") {
		name, value, hasValue := strings.Cut(item, "=")
		if !isLimitName(name) || hasValue && !isLimitValue(value) {
			return ServerLimits{}
		}
		again := false
		switch strings.ToUpper(name) {
		case "MAILMAX":
			again, mail, l.MailMax = mail, true, limitValue(value)
		case "RCPTMAX":
			again, rcpt, l.RcptMax = rcpt, true, limitValue(value)
		case "RCPTDOMAINMAX":
			again, domain, l.RcptDomainMax = domain, true, limitValue(value)
		}
		if again {
			return ServerLimits{}
		}
	}
	return l
}

// isLimitName is a letter or digit, then more of them, hyphens and underscores.
func isLimitName(s string) bool {
	if s == "" || !isAlnum(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if !isAlnum(s[i]) && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return true
}

// isLimitValue is any visible characters but the semicolon.
func isLimitValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ';' {
			return false
		}
	}
	return s != ""
}

// limitValue is a number of one to six digits that does not begin with zero,
// else 0.
func limitValue(s string) int {
	if s == "" || len(s) > 6 || s[0] == '0' {
		return 0
	}
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0
		}
	}
	n, _ := strconv.Atoi(s) // six digits are always a number
	return n
}
