package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/nexthop-mail/nexthop/delivery"
)

// limitsFile is what the file of -limits says.
type limitsFile struct {
	rules  []delivery.Rule
	groups map[string]delivery.Group
	tls    []tlsRule
}

// readLimits reads a file of limits. Errors name the file, the line and the field of
// everything invalid. Without a file there are no limits.
func readLimits(file string) (*limitsFile, error) {
	f := &limitsFile{groups: make(map[string]delivery.Group)}
	if file == "" {
		return f, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	root, err := parseTree(file, text)
	if err != nil {
		return nil, err
	}
	r := &limitsReader{reader: reader{file: file}, limitsFile: f}
	r.object(root, "", map[string]field{"rules": r.list(r.rule), "groups": r.group})
	if len(r.problems) == 0 {
		r.validate()
	}
	if len(r.problems) > 0 {
		return nil, errors.Join(r.problems...)
	}
	return f, nil
}

// limitsReader reads it.
type limitsReader struct {
	reader
	*limitsFile
	all        []delivery.Rule // those that only say something of TLS, too
	ruleLines  []int
	groupLines map[string]int
}

// rule takes one rule.
func (r *limitsReader) rule(n node, path string) {
	var (
		rule delivery.Rule
		tls  *tlsRule
	)
	r.object(n, path, map[string]field{
		"match": func(n node, path string) {
			r.object(n, path, map[string]field{
				"domain": r.text(&rule.Match.Domain), "mx": r.text(&rule.Match.MX), "site": r.text(&rule.Match.Site),
			})
		},
		"connections": r.whole(&rule.Connections), "rate": r.number(&rule.Rate),
		"messages": r.whole(&rule.Messages), "recipients": r.whole(&rule.Recipients), "group": r.text(&rule.Group),
		"shared": r.truth(&rule.Shared),
		"tls":    func(n node, path string) { tls = r.tlsRule(n, path) },
	})
	if only := (delivery.Rule{Match: rule.Match}); rule != only || tls == nil {
		r.rules = append(r.rules, rule)
	}
	if tls != nil {
		tls.Match = rule.Match
		r.tls = append(r.tls, *tls)
		rule.Connections = max(rule.Connections, 1) // it says something
	}
	r.all, r.ruleLines = append(r.all, rule), append(r.ruleLines, n.line)
}

// group takes the groups.
func (r *limitsReader) group(n node, path string) {
	r.groupLines = make(map[string]int)
	list, ok := n.value.([]member)
	if !ok {
		r.wrong(n.line, path, "not an object")
	}
	for _, m := range list {
		at := fmt.Sprintf("%s[%q]", path, m.name)
		if _, twice := r.groups[m.name]; twice {
			r.wrong(m.line, at, "it stands twice")
		}
		var g delivery.Group
		r.object(m.node, at, map[string]field{
			"connections": r.whole(&g.Connections), "rate": r.number(&g.Rate), "shared": r.truth(&g.Shared),
		})
		r.groups[m.name], r.groupLines[m.name] = g, m.line
	}
}

// settingsPath is how the library names a field of the rules or groups.
var settingsPath = regexp.MustCompile(`^delivery\.Settings\.(Rules|Groups)(?:\[([^]]*)\])?((?:\.\w+)?): `)

// validate lets the library check rules and groups together, and gives its errors their
// place in the file.
func (r *limitsReader) validate() {
	err := (&delivery.Settings{Rules: r.all, Groups: r.groups}).Validate()
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		if err == nil {
			continue
		}
		line, path, text := 1, "", err.Error()
		if m := settingsPath.FindStringSubmatch(text); m != nil {
			kind, key, field := strings.ToLower(m[1]), m[2], strings.ToLower(m[3])
			path, text = kind+"["+key+"]"+field, strings.TrimPrefix(text, m[0])
			if i, err := strconv.Atoi(key); err == nil && kind == "rules" && i < len(r.ruleLines) {
				line = r.ruleLines[i]
			} else if name, err := strconv.Unquote(key); err == nil {
				line = r.groupLines[name]
			}
		}
		r.wrong(line, path, "%s", text)
	}
}
