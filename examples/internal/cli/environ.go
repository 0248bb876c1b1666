package cli

import (
	"flag"
	"slices"
	"strings"
)

// FromEnvironment sets flags that the command line does not have from the environment.
// With the prefix NEXTHOP_, the variable of -relay-domain is NEXTHOP_RELAY_DOMAIN. The
// values of a repeatable flag are separated by blanks. It returns the names of
// variables with the prefix that are not settings of the program. If only is given,
// only these flags are settings.
//
// Call it after parsing the command line. Errors do not repeat values, which may be
// secret.
func FromEnvironment(fs *flag.FlagSet, prefix string, environ []string, only ...string) (unknown []string, err error) {
	given := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for _, entry := range environ {
		variable, value, _ := strings.Cut(entry, "=")
		rest, ours := strings.CutPrefix(variable, prefix)
		if !ours || isService(rest, value) {
			continue
		}
		name := strings.ToLower(strings.ReplaceAll(rest, "_", "-"))
		f := fs.Lookup(name)
		switch {
		case f == nil || rest != strings.ToUpper(rest) || len(only) > 0 && !slices.Contains(only, name):
			unknown = append(unknown, variable)
		case !given[name]:
			if err := setAll(f, value); err != nil {
				return nil, Usage("%s: %s", variable, reason(f, err))
			}
		}
	}
	return unknown, nil
}

// setAll sets a flag: a repeatable one to each word.
func setAll(f *flag.Flag, value string) error {
	if _, repeatable := f.Value.(*List); !repeatable {
		return f.Value.Set(value)
	}
	for _, word := range strings.Fields(value) {
		if err := f.Value.Set(word); err != nil {
			return err
		}
	}
	return nil
}

// isService reports whether a variable is one that Kubernetes and Docker set for a
// service named nexthop: they say where it is, and collide with -port.
func isService(name, value string) bool {
	return strings.HasPrefix(name, "SERVICE_") || strings.HasPrefix(name, "PORT_") ||
		name == "PORT" && strings.Contains(value, "://")
}

// reason says why a flag does not take a value, without the value. The flag package says
// no more than "parse error" of its own values.
func reason(f *flag.Flag, err error) string {
	getter, _ := f.Value.(flag.Getter)
	if getter != nil {
		switch getter.Get().(type) {
		case bool:
			return "want true or false"
		case int, int64, uint, uint64:
			return "want a number"
		}
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}
