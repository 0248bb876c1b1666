package mx_test

import (
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
)

// TestLoopTellsWhyByAddress: if the addresses alone make a host this one, the error says so,
// and names the field that permits loopback. If its name does, it does not.
func TestLoopTellsWhyByAddress(t *testing.T) {
	r := &mx.Router{Self: []string{"us.test"}, Resolver: zone(t, `
		lo.test.      MX 10 host.lo.test.
		host.lo.test. A 127.0.0.1
		bare.test.    A 127.0.0.1
		us.test.      A 127.0.0.1
		to-us.test.   MX 10 us.test.`)}
	const why = "loopback addresses only, and AllowLoopback is not set"
	for domain, want := range map[string]string{
		"[127.0.0.1]": why, "[IPv6:::1]": why, "lo.test": why, "bare.test": why,
		"[0.0.0.0]": "no address of a host", "us.test": "", "to-us.test": "",
	} {
		_, err := r.Route(t.Context(), domain)
		if err == nil || !strings.Contains(err.Error(), "point back to this host") {
			t.Errorf("%s: %v, want a loop", domain, err)
			continue
		}
		if want != "" && !strings.Contains(err.Error(), want) || want == "" && strings.Contains(err.Error(), "address") {
			t.Errorf("%s: %v, want %q", domain, err, want)
		}
	}
	if _, err := r.Route(t.Context(), ""); err == nil || err.Error() != `"": not a domain name: "": no domain` {
		t.Errorf("the empty domain: %v", err)
	}
}
