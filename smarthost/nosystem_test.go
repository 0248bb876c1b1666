package smarthost_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestNoSystemResolver: without resolv.conf, as on Windows, smart hosts can be used whose
// address is known without DNS, for the mail that goes there. Only a Table for which there
// is none is invalid. No other mail bounces.
func TestNoSystemResolver(t *testing.T) {
	none := &fs.PathError{Op: "open", Path: "/etc/resolv.conf", Err: fs.ErrNotExist}
	here := hosts(t, "[192.0.2.1]")
	by := func(to string, h ...smarthost.Host) []smarthost.Rule {
		return []smarthost.Rule{{To: to, MX: len(h) == 0, Hosts: h}}
	}
	const lacks = "resolv.conf"
	for _, c := range []struct {
		name       string
		rules      smarthost.Rules
		valid      bool
		wants, mxs string // of mail that matches no exception, and to mx.test
	}{
		{"no rules", smarthost.Rules{}, false, lacks, lacks},
		{"an address", smarthost.Rules{Default: here}, true, "[192.0.2.1]", "[192.0.2.1]"},
		{"the hosts file", smarthost.Rules{Default: hosts(t, "[localhost]")}, true, "localhost", "localhost"},
		{"a name", smarthost.Rules{Default: hosts(t, "[mail.invalid]")}, false, lacks, lacks},
		{"a name by MX", smarthost.Rules{Default: hosts(t, "smtp://mail.invalid?mx=1")}, false, lacks, lacks},
		{"a name and an address", smarthost.Rules{Default: hosts(t, "[mail.invalid]", "[192.0.2.1]")}, true, "[192.0.2.1]", "[192.0.2.1]"},
		{"an exemption", smarthost.Rules{Default: here, Special: by("mx.test")}, true, "[192.0.2.1]", lacks},
		{"one domain", smarthost.Rules{Special: by("mx.test", here...)}, true, lacks, "[192.0.2.1]"},
		{"a fallback", smarthost.Rules{Fallback: here}, true, "", ""},
		{"a fallback by name", smarthost.Rules{Fallback: hosts(t, "[mail.invalid]")}, false, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tab := &smarthost.Table{}
			tab.FailSystemResolver(none)
			if err := tab.Set(c.rules); err != nil {
				t.Fatal(err)
			}
			err := tab.Validate()
			if (err == nil) != c.valid || err != nil && (!errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "Table.Router")) {
				t.Errorf("Validate: %v; want no error: %t", err, c.valid)
			}
			for domain, want := range map[string]string{"e.test": c.wants, "mx.test": c.mxs} {
				route, err := tab.Route(t.Context(), "", domain)
				e, failed := errors.AsType[*mx.Error](err)
				switch {
				case failed && (want == "" || !strings.Contains(e.Error(), want) || !e.Temporary()):
					t.Errorf("%s: %v, want %q", domain, e, want)
				case !failed && want == "" && (len(route.Hosts) > 0 || route.Fallback == nil):
					t.Errorf("%s: %+v, want a fallback alone", domain, route)
				case !failed && want != "" && (len(route.Hosts) != 1 || route.Hosts[0].Name != want):
					t.Errorf("%s: %+v, want %s", domain, route.Hosts, want)
				}
			}
			if err := tab.Probe(t.Context()); err != nil {
				t.Errorf("Probe: %v, as if DNS was in trouble", err)
			}
		})
	}
	t.Run("a Table that was never set", func(t *testing.T) {
		tab := &smarthost.Table{}
		tab.FailSystemResolver(none)
		if _, err := tab.Route(t.Context(), "", "e.test"); err == nil || !strings.Contains(err.Error(), lacks) || tab.Validate() == nil {
			t.Errorf("%v, and Validate %v", err, tab.Validate())
		}
	})
}
