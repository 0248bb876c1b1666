package cli

import (
	"strings"
)

// helloName returns the name of a machine for EHLO, or "" if it is not suitable: EHLO
// requires a fully-qualified domain name (RFC 5321 section 4.1.1.1). Machines have
// names such as my_host or, in a container, 5b8f7d9c4-x2k9q, which strict hosts refuse
// permanently. Names of the loopback are not unique.
func helloName(machine string) string {
	name := strings.ToLower(strings.TrimSuffix(machine, "."))
	labels := strings.Split(name, ".")
	top := labels[len(labels)-1]
	switch {
	case len(labels) < 2, len(name) > 253:
		return ""
	case labels[0] == "localhost", top == "localhost", top == "localdomain", top == "invalid":
		return ""
	case strings.Trim(top, "0123456789") == "": // an address, or a part of one
		return ""
	}
	for _, l := range labels {
		if !isLabel(l) {
			return ""
		}
	}
	return name
}

// isLabel reports whether a label consists of letters, digits and inner hyphens (RFC
// 5321 section 4.1.2).
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
