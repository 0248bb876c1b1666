package smtp

import (
	"slices"
	"strconv"
	"strings"
)

const (
	// maxKeywords is how many keyword lines of a reply to EHLO are looked at.
	maxKeywords = 64
	// maxMechanisms is how many mechanisms of AUTH are.
	maxMechanisms = 32
	// escapedTab is a tab in the text of a reply, which some servers write for a blank.
	escapedTab = `\x09`
	// maxName limits the name that a server gives itself, and maxRemark the text after
	// it, in octets.
	maxName, maxRemark = 255, 512
)

// parseExtensions parses the text of a reply to EHLO. The first line is the server's
// name and greeting in any form (RFC 5321 section 4.1.1.1). Lines that are not keyword
// lines are ignored, and so is everything after maxKeywords. The results do not keep
// the text alive.
func parseExtensions(text string) Extensions {
	first, rest, more := strings.Cut(text, "\n")
	x := Extensions{ESMTP: true}
	x.Greeting, x.Remark = greetingOf(first)
	for n := 0; more && n < maxKeywords; {
		var line string
		line, rest, more = strings.Cut(rest, "\n")
		line = strings.ReplaceAll(line, escapedTab, " ")
		keyword, params := cutKeyword(strings.TrimRight(line, " "))
		if isKeyword(keyword) {
			x.learn(strings.ToUpper(keyword), params, strings.HasPrefix(line[len(keyword):], "="))
			n++
		}
	}
	return x
}

// cutKeyword is a line's keyword and parameters. Old servers write "AUTH=PLAIN"
// (before RFC 2554), some write every keyword like that, and some have a colon there.
func cutKeyword(line string) (keyword, params string) {
	i := strings.IndexAny(line, " =:")
	if i < 0 {
		return line, ""
	}
	return line[:i], line[i+1:]
}

// greetingOf returns the name at the start of a greeting, and the text after it.
func greetingOf(s string) (name, remark string) {
	name, remark, _ = strings.Cut(s, " ")
	return strings.Clone(name[:min(len(name), maxName)]), strings.Clone(remark[:min(len(remark), maxRemark)])
}

// learn takes in one keyword. Parameters that are not defined for it are ignored
// (RFC 6531 section 3.1 says so for SMTPUTF8). Of a keyword that comes twice the
// first counts; but what AUTH lists in several lines, old is one that begins with
// "AUTH=", adds up.
func (x *Extensions) learn(keyword, params string, old bool) {
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
		if !x.Size {
			x.Size, x.MaxSize = true, parseSize(params)
		}
	case "AUTH":
		x.AuthParameter = x.AuthParameter || !old
		x.Auth = addMechanisms(x.Auth, params)
	case "LIMITS":
		if !x.limited {
			x.limited, x.Limits = true, parseLimits(params)
		}
	}
}

// isKeyword holds a word against ehlo-keyword (RFC 5321 section 4.1.1.1).
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

// parseSize returns the limit that SIZE states, or 0 if it states none or an invalid
// one (RFC 1870 section 4).
func parseSize(params string) int64 {
	n, err := strconv.ParseInt(params, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// addMechanisms adds the names that AUTH lists (RFC 4422 section 3.1), each once.
// Some servers put commas between them, or a colon before them.
func addMechanisms(list []string, params string) []string {
	separates := func(r rune) bool { return r == ' ' || r == ',' || r == '=' || r == ':' }
	for m := range strings.FieldsFuncSeq(strings.ToUpper(params), separates) {
		if len(m) <= 20 && len(list) < maxMechanisms && !slices.Contains(list, m) {
			list = append(list, strings.Clone(m))
		}
	}
	return list
}
