package compose

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

var errAddresses = errors.New("not a list of addresses")

// Addresses returns the addresses in the value of a field such as To (RFC 5322 section
// 3.4), without names, comments and the names of groups. A local name may have no
// domain. The addresses are not validated.
func Addresses(value string) ([]string, error) {
	spans, err := parseAddresses(value)
	var list []string
	for _, s := range spans {
		list = append(list, s.address)
	}
	return list, err
}

// MapAddresses is a value with each of its addresses replaced by what f makes of it. All
// else in it stays.
func MapAddresses(value string, f func(address string) string) (string, error) {
	spans, err := parseAddresses(value)
	if err != nil {
		return value, err
	}
	for _, s := range slices.Backward(spans) {
		if with := f(s.address); with != s.address {
			value = value[:s.from] + with + value[s.to:]
		}
	}
	return value, nil
}

// span is an address and where it stands.
type span struct {
	address  string
	from, to int
}

func parseAddresses(value string) ([]span, error) {
	p := &addressParser{rest: value, length: len(value)}
	for p.rest != "" {
		if err := p.next(); err != nil {
			return nil, fmt.Errorf("%w: %.100q", err, value)
		}
	}
	if err := p.finish(); err != nil {
		return nil, fmt.Errorf("%w: %.100q", err, value)
	}
	return p.found, nil
}

// addressParser reads a list.
type addressParser struct {
	rest   string
	length int
	plain  strings.Builder // what stands outside of angle brackets
	begin  int             // of that, without blanks
	end    int
	angle  *span // what stands within
	found  []span
}

// at is the position.
func (p *addressParser) at() int { return p.length - len(p.rest) }

// take adds to what stands outside of angle brackets.
func (p *addressParser) take(text string) {
	if strings.TrimSpace(text) != "" {
		if strings.TrimSpace(p.plain.String()) == "" {
			p.begin = p.at()
		}
		p.end = p.at() + len(text)
	}
	p.plain.WriteString(text)
}

// next takes the next token.
func (p *addressParser) next() error {
	c := p.rest[0]
	switch c {
	case '(':
		return p.skipComment()
	case '"', '[':
		text, err := p.quoted(map[byte]byte{'"': '"', '[': ']'}[c])
		p.take(text)
		p.rest = p.rest[len(text):]
		return err
	case '<':
		return p.bracketed()
	case ':': // of a group
		p.plain.Reset()
	case ',', ';':
		if err := p.finish(); err != nil {
			return err
		}
	case ')', '>', ']':
		return errAddresses
	default:
		p.take(p.rest[:1])
	}
	p.rest = p.rest[1:]
	return nil
}

// skipComment skips a comment, which may have others in it.
func (p *addressParser) skipComment() error {
	for depth, i := 0, 0; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				p.rest = p.rest[i+1:]
				return nil
			}
		}
	}
	return errAddresses
}

// quoted takes what ends with an octet, with both.
func (p *addressParser) quoted(end byte) (text string, err error) {
	for i := 1; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\\':
			i++
		case end:
			return p.rest[:i+1], nil
		}
	}
	return "", errAddresses
}

// bracketed reads an address in angle brackets. A route in it is ignored (RFC 5321
// section 4.1.1.3).
func (p *addressParser) bracketed() error {
	if p.angle != nil {
		return errAddresses
	}
	inner := &addressParser{rest: p.rest[1:], length: p.length}
	for inner.rest != "" && inner.rest[0] != '>' {
		if c := inner.rest[0]; c == ',' { // of a route
			inner.plain.Reset()
			inner.rest = inner.rest[1:]
			continue
		} else if c == '<' || c == ';' {
			return errAddresses
		}
		if err := inner.next(); err != nil {
			return err
		}
	}
	if inner.rest == "" {
		return errAddresses
	}
	address, err := joined(inner.plain.String())
	p.angle = &span{address, p.at() + 1, inner.at()}
	p.rest = inner.rest[1:]
	return err
}

// finish ends an address.
func (p *addressParser) finish() error {
	var err error
	found := span{from: p.begin, to: p.end}
	if p.angle != nil {
		found = *p.angle
	} else {
		found.address, err = joined(p.plain.String())
	}
	p.plain.Reset()
	p.angle = nil
	if err == nil && found.address != "" {
		p.found = append(p.found, found)
	}
	return err
}

// joined is an address without the blanks that may stand around "@" and ".".
func joined(text string) (string, error) {
	if strings.Contains(text, `"`) {
		local, domain := text[:strings.LastIndexByte(text, '"')+1], text[strings.LastIndexByte(text, '"')+1:]
		return strings.TrimSpace(local) + strings.Join(strings.Fields(domain), ""), nil
	}
	words := strings.Fields(text)
	for i := 1; i < len(words); i++ {
		before, after := words[i-1], words[i]
		if !strings.ContainsAny(before[len(before)-1:], "@.") && !strings.ContainsAny(after[:1], "@.") {
			return "", errAddresses
		}
	}
	return strings.Join(words, ""), nil
}
