package smtptest

import (
	"strconv"
	"strings"
)

// checkParams looks at the parameters of MAIL or RCPT, and reports whether all
// of them may be given.
func (s *session) checkParams(c command) bool {
	ok := true
	seen := map[string]bool{}
	for _, p := range c.params {
		name, value, _ := strings.Cut(p, "=")
		name = strings.ToUpper(name)
		if seen[name] {
			s.breach(RuleParamTwice, p)
			ok = false
		}
		seen[name] = true
		if !s.offersParam(c.verb, name, value) {
			s.breach(RuleParamNotOffered, p)
			ok = false
		} else if !validParam(name, value, strings.Contains(p, "=")) {
			s.breach(RuleParamValue, p)
			ok = false
		}
	}
	return ok
}

func (s *session) offersParam(verb, name, value string) bool {
	keyword := paramKeyword(verb, name, value)
	return keyword != "" && s.extended && s.extensions.has(keyword)
}

// validParam looks at the value of a parameter.
func validParam(name, value string, given bool) bool {
	switch name {
	case "SIZE":
		n, err := strconv.ParseUint(value, 10, 64)
		return err == nil && len(value) <= 20 && strconv.FormatUint(n, 10) == value
	case "BODY":
		return strings.EqualFold(value, "7BIT") || strings.EqualFold(value, "8BITMIME") || strings.EqualFold(value, "BINARYMIME")
	case "SMTPUTF8", "REQUIRETLS":
		return !given
	case "RET":
		return strings.EqualFold(value, "FULL") || strings.EqualFold(value, "HDRS")
	case "ENVID":
		return value != "" && len(value) <= 100 && validXtext(value)
	case "NOTIFY":
		return validNotify(value)
	case "ORCPT":
		kind, address, ok := strings.Cut(value, ";")
		return ok && kind != "" && address != "" && len(value) <= 500 && (strings.EqualFold(kind, "utf-8") || validXtext(address))
	case "AUTH":
		return value != "" && validXtext(value)
	case "MT-PRIORITY":
		n, err := strconv.Atoi(value)
		return err == nil && n >= -9 && n <= 9
	default:
		return value != ""
	}
}

// validNotify is NEVER alone, or any of the others once (RFC 3461 section 4.1).
func validNotify(value string) bool {
	if strings.EqualFold(value, "NEVER") {
		return true
	}
	seen := map[string]bool{}
	for word := range strings.SplitSeq(strings.ToUpper(value), ",") {
		if seen[word] || word != "SUCCESS" && word != "FAILURE" && word != "DELAY" {
			return false
		}
		seen[word] = true
	}
	return true
}

// validXtext is the encoding of RFC 3461 section 4.
func validXtext(s string) bool {
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case b == '+':
			if i+2 >= len(s) || !upperHex(s[i+1]) || !upperHex(s[i+2]) {
				return false
			}
			i += 2
		case b <= ' ' || b > '~' || b == '=':
			return false
		}
	}
	return true
}

func upperHex(b byte) bool { return b >= '0' && b <= '9' || b >= 'A' && b <= 'F' }

// commandIncrease is what the parameters of used extensions add to the longest
// command line.
func commandIncrease(c command) int {
	more := 0
	for _, p := range c.params {
		name, _, _ := strings.Cut(p, "=")
		switch strings.ToUpper(name) {
		case "SIZE":
			more += 26 // RFC 1870 section 3
		case "BODY":
			more += 17 // RFC 6152 section 2
		case "SMTPUTF8":
			more += 10 // RFC 6531 section 3.1
		case "AUTH":
			more += 500 // RFC 4954 section 3
		default:
			more += 524 // RFC 3461 section 4 and the like
		}
	}
	return more
}
