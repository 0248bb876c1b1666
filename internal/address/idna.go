package address

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const acePrefix = "xn--"

const badLabel = "not a valid internationalised label"

// labels maps nothing, so that what it takes is what was meant: NFC, no leading
// mark, joiners and writing directions only where they may be. Lengths and
// hyphens are checked elsewhere: it counts octets of them, IDNA characters.
var labels = idna.New(idna.ValidateForRegistration(), idna.VerifyDNSLength(false), idna.CheckHyphens(false))

// toASCII turns the U-labels of a name into A-labels and checks the A-labels,
// which must be real: punycode that decodes, and encodes to the same again (RFC
// 5891 section 5.3).
func toASCII(name string, u use) (ascii, reason string) {
	if !utf8.ValidString(name) {
		return "", "not UTF-8"
	}
	// With one label written from right to left, all are subject to the rule for
	// such names (RFC 5893 section 2). It does not know underscores, which stand
	// in labels that are ASCII.
	if u != forHost && !isASCII(name) {
		if _, err := labels.ToASCII(strings.ReplaceAll(name, "_", "x")); err != nil {
			return "", badLabel
		}
	}
	parts := strings.Split(name, ".")
	for i, l := range parts {
		switch {
		case !isASCII(l):
			parts[i], reason = fromULabel(l)
		case u != forHost && strings.HasPrefix(l, acePrefix):
			reason = checkALabel(l)
		}
		if reason != "" {
			return "", reason
		}
	}
	return strings.Join(parts, "."), ""
}

// fromULabel is the A-label of a U-label that may be looked up (RFC 5891
// section 5.4).
func fromULabel(u string) (a, reason string) {
	if !isULabel(u) {
		return "", badLabel
	}
	a, err := labels.ToASCII(u)
	switch {
	case err != nil:
		return "", badLabel
	case len(a) > maxLabel:
		return "", tooLongLabel
	}
	return a, ""
}

// isULabel reports whether a label has nothing that labels lets pass though
// IDNA2008 does not.
func isULabel(u string) bool {
	if strings.HasPrefix(u, "-") || strings.HasSuffix(u, "-") || hasReservedHyphens(u) {
		return false
	}
	for _, r := range u {
		if r >= utf8.RuneSelf && !isPermitted(r) {
			return false
		}
	}
	return true
}

// checkALabel checks a label that has the prefix of an A-label. ToASCII decodes it
// and encodes the result. Symbols, which IDNA2008 leaves out but registries
// have sold, are no fault of it: the name is in DNS as it stands.
func checkALabel(a string) (reason string) {
	if len(a) > maxLabel {
		return tooLongLabel
	}
	again, err := labels.ToASCII(a)
	if err != nil || again != a {
		return badLabel
	}
	return ""
}

// readable is a label as people read it, or as it is if that could deceive
// them.
func readable(label string) string {
	u, err := labels.ToUnicode(label)
	if err != nil || !isULabel(u) {
		return label
	}
	return u
}

// hasReservedHyphens reports whether the third and fourth characters are
// hyphens, which no U-label has (RFC 5891 section 5.4).
func hasReservedHyphens(label string) bool {
	n := 0
	for _, r := range label {
		if n++; n >= 3 && r != '-' {
			return false
		}
		if n == 4 {
			return true
		}
	}
	return false
}

// lower is s with its letters in lower case, apart from those whose lower case
// is not theirs alone: "İ" is no "i".
func lower(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	if !utf8.ValidString(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		l := unicode.ToLower(r)
		if unicode.ToUpper(l) != r {
			return r
		}
		return l
	}, s)
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
