package smtpd

import (
	"errors"
	"strings"
)

var (
	errPath       = errors.New("a path in angle brackets is required")
	errParameters = errors.New("a blank must stand between path and parameters")
)

// cutPath splits the argument of MAIL or RCPT into keyword, path and parameters. A
// source route is dropped (RFC 5321 section 4.1.1.3). The path is not checked to be an
// address.
//
// Devices and scripts leave out the brackets, or put blanks in wrong places. If lenient
// is true, this is accepted; the result is the only possible meaning.
func cutPath(argument, keyword string, lenient bool) (path string, parameters []string, err error) {
	if len(argument) < len(keyword) || !strings.EqualFold(argument[:len(keyword)], keyword) {
		return "", nil, errPath
	}
	rest := argument[len(keyword):]
	if lenient {
		rest = trimLeft(rest)
	}
	if rest, err = cutColon(rest); err != nil {
		return "", nil, err
	}
	end := closingBracket(rest)
	switch {
	case end > 0:
		path, rest = rest[1:end], rest[end+1:]
	case lenient && rest != "" && rest[0] != '<':
		end = endOfBarePath(rest)
		path, rest = rest[:end], rest[end:]
	default:
		return "", nil, errPath
	}
	if lenient {
		path = trim(path)
	} else if rest != "" && !strings.ContainsAny(rest[:1], blanks) {
		return "", nil, errParameters
	}
	if strings.HasPrefix(path, "@") {
		if _, after, ok := strings.Cut(path, ":"); ok {
			path = after
		}
	}
	if rest == "" {
		return path, nil, nil
	}
	return path, strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == '\t' }), nil
}

const blanks = " \t"

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// trimLeft takes blanks away at the beginning, and trim at both ends. Package strings would
// make a set of its characters for each call.
func trimLeft(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	return s
}

func trim(s string) string {
	s = trimLeft(s)
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// cutColon drops the colon and blanks behind it, which many clients leave there.
func cutColon(s string) (string, error) {
	rest, ok := strings.CutPrefix(s, ":")
	if !ok {
		return "", errPath
	}
	return trimLeft(rest), nil
}

// endOfBarePath returns where a path without brackets ends: at the first blank that is
// not in quotes. Such a path contains no bracket, so with one it is not an address.
func endOfBarePath(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t'):
			return i
		}
	}
	return len(s)
}

// closingBracket is where the path that begins s ends; -1 where it does not. In a
// quoted local part a bracket is a character like others.
func closingBracket(s string) int {
	if s == "" || s[0] != '<' {
		return -1
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return i
		}
	}
	return -1
}
