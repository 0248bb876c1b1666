package smtpd

import (
	"errors"
	"strings"
)

var (
	errPath       = errors.New("a path in angle brackets is required")
	errParameters = errors.New("a blank must stand between path and parameters")
)

// cutPath takes the argument of MAIL or RCPT apart: keyword, path, parameters. A
// source route is dropped (RFC 5321 section 4.1.1.3). That the path is an address is
// for others to say.
func cutPath(argument, keyword string) (path string, parameters []string, err error) {
	if len(argument) < len(keyword) || !strings.EqualFold(argument[:len(keyword)], keyword) {
		return "", nil, errPath
	}
	rest := strings.TrimLeft(argument[len(keyword):], " ") // many clients leave a blank here
	end := closingBracket(rest)
	if end < 0 {
		return "", nil, errPath
	}
	path, rest = rest[1:end], rest[end+1:]
	if rest != "" && rest[0] != ' ' {
		return "", nil, errParameters
	}
	if strings.HasPrefix(path, "@") {
		if _, after, ok := strings.Cut(path, ":"); ok {
			path = after
		}
	}
	return path, strings.Fields(rest), nil
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
