package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// node is a JSON value with the line on which it begins, so that errors can name their
// place.
type node struct {
	line  int
	value any // []member, []node, string, json.Number, bool or nil
}

// member is one of an object.
type member struct {
	name string
	line int
	node
}

// parser reads a file of one JSON value.
type parser struct {
	name string // of the file
	text []byte
	d    *json.Decoder
}

func parseTree(name string, text []byte) (node, error) {
	p := &parser{name, text, json.NewDecoder(bytes.NewReader(text))}
	p.d.UseNumber()
	n, err := p.next()
	if err == nil {
		if _, more := p.d.Token(); more != io.EOF {
			err = p.wrong(errors.New("something follows the value"))
		}
	}
	return n, err
}

// wrong is an error at the place reached.
func (p *parser) wrong(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the file ends too early")
	}
	return fmt.Errorf("%s:%d: %w", p.name, p.line(), err)
}

func (p *parser) line() int { return 1 + bytes.Count(p.text[:p.d.InputOffset()], []byte("\n")) }

// next reads a value.
func (p *parser) next() (node, error) {
	t, err := p.d.Token()
	if err != nil {
		return node{}, p.wrong(err)
	}
	n := node{p.line(), t}
	switch t {
	case json.Delim('{'):
		n.value, err = p.members()
	case json.Delim('['):
		n.value, err = p.items()
	}
	return n, err
}

func (p *parser) members() (list []member, err error) {
	list = []member{}
	for p.d.More() {
		name, err := p.d.Token()
		if err != nil {
			return nil, p.wrong(err)
		}
		m := member{name: name.(string), line: p.line()}
		if m.node, err = p.next(); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, p.end()
}

func (p *parser) items() (list []node, err error) {
	list = []node{}
	for p.d.More() {
		n, err := p.next()
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, p.end()
}

// end reads the end of an object or a list.
func (p *parser) end() error {
	if _, err := p.d.Token(); err != nil {
		return p.wrong(err)
	}
	return nil
}

// reader takes values out of a tree, and collects errors.
type reader struct {
	file     string
	problems []error
}

func (r *reader) wrong(line int, path, format string, args ...any) {
	at := fmt.Sprintf("%s:%d: ", r.file, line)
	if path != "" {
		at += path + ": "
	}
	r.problems = append(r.problems, fmt.Errorf(at+format, args...))
}

// field takes the value of a key, which stands at a path.
type field func(n node, path string)

// object takes the members of an object, of which no others are known.
func (r *reader) object(n node, path string, fields map[string]field) {
	list, ok := n.value.([]member)
	if !ok {
		r.wrong(n.line, path, "not an object")
		return
	}
	seen := make(map[string]bool)
	for _, m := range list {
		at := strings.TrimPrefix(path+"."+m.name, ".")
		take, known := fields[m.name]
		switch {
		case !known:
			var names []string
			for name := range fields {
				names = append(names, name)
			}
			slices.Sort(names)
			r.wrong(m.line, at, "unknown key; there are %s", strings.Join(names, ", "))
		case seen[m.name]:
			r.wrong(m.line, at, "it stands twice")
		default:
			take(m.node, at)
		}
		seen[m.name] = true
	}
}

// list takes the items of a list.
func (r *reader) list(take field) field {
	return func(n node, path string) {
		items, ok := n.value.([]node)
		if !ok {
			r.wrong(n.line, path, "not a list")
		}
		for i := range items {
			take(items[i], fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

func (r *reader) text(into *string) field {
	return func(n node, path string) {
		s, ok := n.value.(string)
		if !ok || s == "" {
			r.wrong(n.line, path, "not a text in quotes")
		}
		*into = s
	}
}

func (r *reader) whole(into *int) field {
	return func(n node, path string) {
		number, _ := n.value.(json.Number)
		i, err := number.Int64()
		if err != nil || i < 0 || i > 1<<31-1 {
			r.wrong(n.line, path, "not a whole number from 0 on")
			return
		}
		*into = int(i)
	}
}

func (r *reader) number(into *float64) field {
	return func(n node, path string) {
		number, _ := n.value.(json.Number)
		f, err := number.Float64()
		if err != nil || f < 0 {
			r.wrong(n.line, path, "not a number from 0 on")
			return
		}
		*into = f
	}
}

func (r *reader) truth(into *bool) field {
	return func(n node, path string) {
		b, ok := n.value.(bool)
		if !ok {
			r.wrong(n.line, path, "neither true nor false")
		}
		*into = b
	}
}
