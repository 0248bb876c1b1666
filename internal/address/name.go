package address

import "strings"

// The limits of RFC 1035 section 2.3.4. A name of 255 octets on the wire has at
// most 253 characters.
const (
	maxLabel = 63
	maxName  = 253
)

const (
	tooLongName  = "name longer than 255 octets"
	tooLongLabel = "label longer than 63 octets"
)

// use is what a name is for, and so what it may have: the later, the less.
type use uint8

const (
	forHost   use = iota // found in DNS: whatever DNS can be asked about
	forDomain            // written behind "@": the same, but A-labels must be real ones
	forHello             // said by this host of itself: letters, digits and hyphens
)

// canonical is the canonical form of a name, or why it has none. A name that is
// canonical already comes back as it is.
func canonical(s string, u use) (name, reason string) {
	name = strings.TrimSuffix(s, ".")
	seen, reason := survey(name, u)
	if reason != "" {
		return "", reason
	}
	if seen.capital || seen.beyondASCII {
		name = lower(name)
	}
	if seen.beyondASCII || seen.reserved && u != forHost {
		if name, reason = toASCII(name, u); reason != "" {
			return "", reason
		}
	}
	if len(name) > maxName {
		return "", tooLongName
	}
	return name, checkLabels(name, u)
}

// findings are what in a name calls for more than a look.
type findings struct {
	capital     bool
	beyondASCII bool
	reserved    bool // two hyphens in a row, as A-labels have
}

// survey goes through the octets once.
func survey(s string, u use) (f findings, reason string) {
	switch {
	case s == "":
		return f, "no domain"
	case len(s) > 4*maxName: // U-labels may have more octets than A-labels
		return f, tooLongName
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.':
		case c == '-':
			f.reserved = f.reserved || i > 0 && s[i-1] == '-'
		case 'A' <= c && c <= 'Z':
			f.capital = true
		case c >= 0x80:
			f.beyondASCII = true
		case c == '_' && u != forHello:
		default:
			return f, "character that no domain name has"
		}
	}
	return f, ""
}

// checkLabels checks a canonical name label by label.
func checkLabels(name string, u use) (reason string) {
	for more := true; more; {
		var label string
		label, name, more = strings.Cut(name, ".")
		switch {
		case label == "":
			return "empty label"
		case len(label) > maxLabel:
			return tooLongLabel
		case u == forHello && (label[0] == '-' || label[len(label)-1] == '-'):
			return "label that begins or ends with a hyphen"
		case !more && isNumber(label):
			return "an IP address, or a name that looks like one"
		}
	}
	return ""
}

// isNumber reports whether a last label is a number, decimal or hexadecimal,
// which no top-level domain is. Such a name is an IP address without brackets,
// or something that a resolver would take for one.
func isNumber(label string) bool {
	digits, hex := strings.CutPrefix(label, "0x")
	for i := range len(digits) {
		if c := digits[i]; (c < '0' || c > '9') && !(hex && c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}
