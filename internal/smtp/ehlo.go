package smtp

import (
	"slices"
	"strconv"
	"strings"
)

// parseExtensions reads a reply to EHLO. The first line is the server's name
// and greeting, whatever it looks like (RFC 5321 section 4.1.1.1). A line that
// is no keyword line is passed over, and so is what comes after maxKeywords.
func parseExtensions(r *Reply, maxKeywords int) Extensions {
	first, rest, more := strings.Cut(r.Text, "\n")
	x := Extensions{ESMTP: true, Greeting: firstWord(first)}
	for more {
		var line string
		line, rest, more = strings.Cut(rest, "\n")
		keyword, params, _ := strings.Cut(strings.TrimRight(line, " "), " ")
		if !isKeyword(keyword) {
			continue
		}
		if len(x.Params) == maxKeywords {
			break
		}
		if x.Params == nil {
			x.Params = make(map[string]string)
		}
		keyword = strings.ToUpper(keyword)
		if _, again := x.Params[keyword]; !again {
			x.Params[keyword] = params
			x.learn(keyword, params)
		}
	}
	return x
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

// learn takes in one keyword. Parameters that are not defined for it are
// ignored (RFC 6531 section 3.1 says so for SMTPUTF8).
func (x *Extensions) learn(keyword, params string) {
	switch keyword {
	case "PIPELINING":
		x.Pipelining = true
	case "CHUNKING":
		x.Chunking = true
	case "BINARYMIME":
		x.BinaryMIME = true
	case "8BITMIME":
		x.EightBitMIME = true
	case "SMTPUTF8":
		x.SMTPUTF8 = true
	case "STARTTLS":
		x.StartTLS = true
	case "ENHANCEDSTATUSCODES":
		x.EnhancedStatusCodes = true
	case "DSN":
		x.DSN = true
	case "REQUIRETLS":
		x.RequireTLS = true
	case "DELIVERBY":
		x.DeliverBy = true
	case "MT-PRIORITY":
		x.MTPriority = true
	case "SIZE":
		x.Size, x.MaxSize = true, parseSize(params)
	case "AUTH":
		x.Auth = parseMechanisms(params)
	case "LIMITS":
		x.Limits = parseLimits(params)
	}
}

// isKeyword holds a word against ehlo-keyword (RFC 5321 section 4.1.1.1). What
// is not one, such as the "AUTH=LOGIN" of old servers, is nothing to us.
func isKeyword(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// parseSize is the limit SIZE states, 0 where it states none that makes sense
// (RFC 1870 section 4).
func parseSize(params string) int64 {
	n, err := strconv.ParseInt(params, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// parseMechanisms are the names of AUTH (RFC 4422 section 3.1), each once.
func parseMechanisms(params string) []string {
	var list []string
	for m := range strings.FieldsSeq(strings.ToUpper(params)) {
		if len(m) <= 20 && !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}
