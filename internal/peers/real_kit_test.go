//go:build linux

package peers_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// The DNS that tests use must say what real servers say of the same zone.

// zoneHead is what the rig puts before the text of a zone.
const zoneHead = "$ORIGIN %s.\n$TTL 60\n@ IN SOA ns.invalid. root.invalid. 1 3600 600 86400 60\n@ IN NS ns.invalid.\n%s\n"

// kitNames are names of plainZone and secureZone, and some that do not exist. A
// delegation is not among them: the kit knows none.
var kitNames = []string{
	"plain.test", "a.plain.test", "b.plain.test", "bare.plain.test", "text.plain.test", "null.plain.test", "alias.plain.test",
	"one.plain.test", "dangling.plain.test", "round.plain.test", "old.plain.test", "x.old.plain.test", "no.old.plain.test",
	"new.plain.test", "wild.plain.test", "deep.er.wild.plain.test", "many.plain.test", "viaalias.plain.test", "nowhere.plain.test",
	"below.a.plain.test", "secure.test", "bare.secure.test", "alias.secure.test", "step.secure.test", "nowhere.secure.test",
}

func TestKitAgreesWithRealServers(t *testing.T) {
	startDNS(t)
	kit := &mxtest.DNS{
		Zone:   fmt.Sprintf(zoneHead, "plain.test", plainZone+hundred()) + fmt.Sprintf(zoneHead, "secure.test", secureZone),
		Signed: map[string]bool{"secure.test": true},
	}
	if err := kit.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, server := range []struct {
		name, ip string
		signs    bool // and has answers that have grown old
	}{{"BIND", authority, false}, {"Unbound", recursor, true}} {
		t.Run(server.name, func(t *testing.T) {
			client := &mx.Client{Servers: []mx.Server{{Addr: server.ip + ":53", TrustAD: true}}}
			for _, name := range kitNames {
				for _, typ := range []mx.Type{mx.TypeMX, mx.TypeA, mx.TypeAAAA, mx.TypeTXT, mx.TypeCNAME} {
					actual, realErr := mx.Follow(t.Context(), client, name, typ)
					fake, fakeErr := mx.Follow(t.Context(), kit, name, typ)
					if !server.signs {
						unsigned(&fake)
						unsigned(&actual)
					}
					d := fake.TTL - actual.TTL
					if server.signs && (d > 0 && d < 30*time.Second || typ == mx.TypeCNAME) {
						fake.TTL = actual.TTL // the TTL of an alias made from a DNAME is 0
					}
					if (realErr != nil) != (fakeErr != nil) || inOrder(actual) != inOrder(fake) {
						t.Errorf("%v of %s: the server says\n%s, %v, the kit\n%s, %v", typ, name, inOrder(actual), realErr, inOrder(fake), fakeErr)
					}
				}
			}
		})
	}
}

// unsigned takes away what only a validating resolver says.
func unsigned(a *mx.Answer) {
	a.Secure = false
	a.Aliases = slices.Clone(a.Aliases)
	for i := range a.Aliases {
		a.Aliases[i].Secure = mx.SecurityUnknown
	}
}

// inOrder is an answer as text, its records sorted: servers turn them round.
func inOrder(a mx.Answer) string {
	a.MX, a.Addrs, a.TXT = slices.Clone(a.MX), slices.Clone(a.Addrs), slices.Clone(a.TXT)
	slices.SortFunc(a.MX, func(x, y mx.MX) int {
		return cmp.Or(cmp.Compare(x.Preference, y.Preference), cmp.Compare(x.Host, y.Host))
	})
	slices.SortFunc(a.Addrs, func(x, y netip.Addr) int { return x.Compare(y) })
	slices.Sort(a.TXT)
	return fmt.Sprintf("%+v", a)
}
