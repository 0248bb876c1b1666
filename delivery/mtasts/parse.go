package mtasts

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// maxAge is the longest time that a policy is in force (RFC 8461 section 3.2, with
// erratum 7282: a longer max_age is cut, not refused).
const maxAge = 31557600 * time.Second

// ParsePolicy parses the text of a policy (RFC 8461 section 3.2). The error is an
// *Error of type sts-policy-invalid, with the number of the line.
//
// If a key other than mx occurs twice, the first one counts. Unknown keys are ignored.
// Some deviations from the grammar have only one possible meaning, and are accepted
// with a note: a byte order mark at the beginning, empty lines, blanks around a key, a
// final dot and capitals in names, names with letters beyond ASCII, addresses among the
// names, a max_age of more than a year.
func ParsePolicy(text []byte) (Policy, error) {
	r := reader{seen: make(map[string]bool)}
	rest, marked := strings.CutPrefix(string(text), "\ufeff")
	if marked {
		r.note("it begins with a byte order mark")
	}
	if !utf8.ValidString(rest) {
		return Policy{}, invalid("it is not UTF-8")
	}
	lines := strings.Split(rest, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	for i, line := range lines {
		if err := r.line(strings.TrimSuffix(line, "\r")); err != "" {
			return Policy{}, invalid("line %d: %s", i+1, err)
		}
	}
	for _, key := range []string{"version", "mode", "max_age"} {
		if !r.seen[key] {
			return Policy{}, invalid("it has no %s", key)
		}
	}
	if r.policy.Mode != None && len(r.policy.MX) == 0 {
		return Policy{}, invalid("it has no mx")
	}
	return r.policy, nil
}

// reader is a policy that is being read.
type reader struct {
	policy Policy
	seen   map[string]bool
}

// note adds a note, once.
func (r *reader) note(text string) {
	for _, known := range r.policy.Notes {
		if known == text {
			return
		}
	}
	r.policy.Notes = append(r.policy.Notes, text)
}

// line parses a line, and returns what is wrong with it.
func (r *reader) line(line string) (wrong string) {
	if strings.Trim(line, " \t") == "" {
		r.note("it has empty lines")
		return ""
	}
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Sprintf("a character %U that does not belong there", c)
		}
	}
	key, value, ok := strings.Cut(line, ":")
	if !ok {
		return "a line is not a key and a value: " + shorten(line)
	}
	if trimmed := strings.Trim(key, " \t"); trimmed != key {
		r.note("it has blanks around a key")
		key = trimmed
	}
	if !isKey(key) {
		return "a key is malformed: " + shorten(key)
	}
	value = strings.Trim(value, " \t")
	r.policy.Lines = append(r.policy.Lines, key+": "+value)
	if key == "mx" {
		return r.mx(value)
	}
	if r.seen[key] {
		r.note(key + " stands there twice, the first counts")
		return ""
	}
	r.seen[key] = true
	switch key {
	case "version":
		if value != "STSv1" {
			return "the version is not STSv1 but " + shorten(value)
		}
	case "mode":
		if r.policy.Mode.UnmarshalText([]byte(value)) != nil {
			return "the mode must be enforce, testing or none, not " + shorten(value)
		}
	case "max_age":
		return r.maxAge(value)
	}
	return ""
}

// maxAge reads how long the policy is in force, in seconds.
func (r *reader) maxAge(value string) (wrong string) {
	if value == "" || strings.Trim(value, "0123456789") != "" {
		return "max_age is not a number of seconds: " + shorten(value)
	}
	seconds, err := strconv.ParseUint(value, 10, 63)
	if err != nil || seconds > uint64(maxAge/time.Second) {
		r.note("max_age is more than a year, and counts as one")
		r.policy.MaxAge = maxAge
		return ""
	}
	r.policy.MaxAge = time.Duration(seconds) * time.Second
	return ""
}

// mx reads a pattern.
func (r *reader) mx(value string) (wrong string) {
	if isAddress(value) {
		r.note("an mx is an address, and matches no host")
		return ""
	}
	name, wild := strings.CutPrefix(value, "*.")
	canonical, err := address.ParseHost(name)
	if err != nil {
		return "mx is neither a name nor a name after \"*.\": " + shorten(value)
	}
	if canonical != name {
		r.note("mx is not a name in lower case and ASCII, without a final dot")
	}
	if wild {
		canonical = "*." + canonical
	}
	r.policy.MX = append(r.policy.MX, canonical)
	return ""
}

// isAddress reports whether a pattern is an IP address, with or without brackets. By the
// grammar one of IPv4 is a valid pattern (RFC 8461 section 3.2 takes Domain from RFC
// 5321), but no MX record names a host by its address.
func isAddress(pattern string) bool {
	if d, err := address.ParseDomain(pattern); err == nil {
		_, literal := d.Literal()
		return literal
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(pattern, "["), "]"), "."))
	return err == nil
}

// isKey reports whether a key has the form of one (RFC 8461 section 3.2).
func isKey(key string) bool {
	if key == "" || len(key) > 32 {
		return false
	}
	for i := 0; i < len(key); i++ {
		c := key[i]
		if !isAlphanumeric(c) && (i == 0 || c != '_' && c != '-' && c != '.') {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// shorten is text from a stranger as it may stand in an error.
func shorten(text string) string {
	const most = 64
	if len(text) > most {
		text = text[:most]
	}
	return strconv.QuoteToASCII(text)
}

// invalid returns the error of an invalid policy.
func invalid(format string, args ...any) *Error {
	return &Error{Type: PolicyInvalid, Reason: "policy-syntax", Text: "the policy is not valid: " + fmt.Sprintf(format, args...)}
}
