package cli

import (
	"errors"
	"flag"
	"os"
	"strings"

	"github.com/nexthop-mail/nexthop/smarthost"
)

// SmartHosts is the flags that name next hops in place of MX records. They are kept
// as they were given until all are there: the flag package would repeat one that
// cannot be read, password and all.
type SmartHosts struct {
	Default, For, Fallback List
}

func (s *SmartHosts) define(fs *flag.FlagSet) {
	fs.Var(&s.Default, "smarthost", "next hop `URL` instead of MX, or @FILE to read it from a file (repeatable: tried in the order given, equal pref= are shuffled)")
	fs.Var(&s.For, "smarthost-for", "`DOMAIN=URL`: the same for one recipient domain; .example.com is every subdomain; DOMAIN=mx exempts a domain (repeatable)")
	fs.Var(&s.Fallback, "fallback", "next hop `URL` or @FILE, tried only after every MX host failed temporarily (repeatable)")
}

func (s *SmartHosts) given() bool { return len(s.Default)+len(s.For)+len(s.Fallback) > 0 }

// Files are the files that the flags name.
func (s *SmartHosts) Files() []string {
	var files []string
	for _, list := range []List{s.Default, s.For, s.Fallback} {
		for _, notation := range list {
			if domain, rest, ok := strings.Cut(notation, "="); ok && !strings.HasPrefix(domain, "@") && strings.HasPrefix(rest, "@") {
				notation = rest // of -smarthost-for
			}
			if file, ok := strings.CutPrefix(notation, "@"); ok {
				files = append(files, file)
			}
		}
	}
	return files
}

// rules returns the rules that the flags describe. Invalid text is a usage error; a
// file that does not exist or an unknown mechanism is a configuration error.
func (s *SmartHosts) rules() (smarthost.Rules, error) {
	var r smarthost.Rules
	var err error
	if r.Default, err = hosts("-smarthost", s.Default); err != nil {
		return r, err
	}
	if r.Fallback, err = hosts("-fallback", s.Fallback); err != nil {
		return r, err
	}
	rules := make(map[string]int) // places in r.Special
	for _, f := range s.For {
		domain, notation, ok := strings.Cut(f, "=")
		if !ok || domain == "" {
			return r, Usage("-smarthost-for takes DOMAIN=URL or DOMAIN=mx")
		}
		key := strings.ToLower(strings.TrimSuffix(domain, "."))
		at, known := rules[key]
		if !known {
			at = len(r.Special)
			rules[key] = at
			r.Special = append(r.Special, smarthost.Rule{To: domain})
		}
		rule := &r.Special[at]
		if strings.EqualFold(notation, "mx") {
			rule.MX = true
			continue
		}
		more, err := hosts("-smarthost-for", List{notation})
		if err != nil {
			return r, err
		}
		rule.Hosts = append(rule.Hosts, more...)
	}
	if err := r.Validate(); err != nil {
		return r, Usage("-smarthost-for: %v", err)
	}
	return r, nil
}

// hosts reads the notations of a flag. Errors do not repeat them.
func hosts(name string, notations List) ([]smarthost.Host, error) {
	var all []smarthost.Host
	for _, n := range notations {
		if file, ok := strings.CutPrefix(n, "@"); ok {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, Config("%s: %v", name, err)
			}
			n = strings.TrimSpace(string(text))
		}
		list, err := smarthost.ParseList(n)
		if e, ok := errors.AsType[*smarthost.Error](err); ok && e.Unsupported {
			return nil, Config("%s: %v", name, err)
		}
		if err != nil {
			return nil, Usage("%s: %v", name, err)
		}
		all = append(all, list...)
	}
	return all, nil
}
