package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nexthop-mail/nexthop/delivery"
)

// limitsFile is the file of -limits. Rules and groups are decoded one by one, so that
// what makes no sense is named with its place.
type limitsFile struct {
	Rules  []json.RawMessage          `json:"rules"`
	Groups map[string]json.RawMessage `json:"groups"`
}

type limitRule struct {
	Match struct {
		Domain string `json:"domain"`
		MX     string `json:"mx"`
		Site   string `json:"site"`
	} `json:"match"`
	Connections int     `json:"connections"`
	Rate        float64 `json:"rate"`
	Messages    int     `json:"messages"`
	Recipients  int     `json:"recipients"`
	Group       string  `json:"group"`
}

type limitGroup struct {
	Connections int     `json:"connections"`
	Rate        float64 `json:"rate"`
}

// readLimits reads the rules and groups of a file into settings; none where there is no
// file.
func readLimits(file string, s *delivery.Settings) error {
	s.Rules, s.Groups = nil, nil
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var f limitsFile
	if err := decode(text, &f); err != nil {
		return err
	}
	var problems []error
	for i, raw := range f.Rules {
		var r limitRule
		if err := decode(raw, &r); err != nil {
			problems = append(problems, fmt.Errorf("rules[%d]: %w", i, err))
		}
		s.Rules = append(s.Rules, delivery.Rule{
			Match:       delivery.Match{Domain: r.Match.Domain, MX: r.Match.MX, Site: r.Match.Site},
			Connections: r.Connections, Rate: r.Rate, Messages: r.Messages, Recipients: r.Recipients, Group: r.Group,
		})
	}
	s.Groups = make(map[string]delivery.Group)
	for name, raw := range f.Groups {
		var g limitGroup
		if err := decode(raw, &g); err != nil {
			problems = append(problems, fmt.Errorf("groups[%q]: %w", name, err))
		}
		s.Groups[name] = delivery.Group(g)
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	return s.Validate()
}

// decode decodes one JSON value that has no keys but those of v.
func decode(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the value")
	}
	return nil
}
