package mx_test

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/mx"
)

// fake is a Resolver made of lines: "name TYPE data", or "name TYPE" and one of
// NXDOMAIN, SERVFAIL, BOGUS, NOTFOUND. A type of "*" is every type. A name with
// any line has no data of the other types, any other name does not exist. Names
// below a name in secure are secure.
type fake struct {
	replies map[string][]string // by "name TYPE"
	names   map[string]bool
	secure  []string
	wide    bool // responses to an alias carry its target's records too
	ttl     map[string]time.Duration

	mu    sync.Mutex
	asked []string
}

// zone is a fake of the lines in text.
func zone(t testing.TB, text string) *fake {
	t.Helper()
	f := &fake{replies: make(map[string][]string), names: make(map[string]bool), ttl: make(map[string]time.Duration)}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch len(fields) {
		case 0:
			continue
		case 1, 2:
			t.Fatalf("zone line %q", line)
		}
		k := fields[0] + " " + fields[1]
		f.names[fields[0]] = true
		f.replies[k] = append(f.replies[k], strings.Join(fields[2:], " "))
	}
	return f
}

// questions is what was asked so far, as "TYPE name".
func (f *fake) questions() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

func (f *fake) Resolve(ctx context.Context, name string, t mx.Type) (mx.Answer, error) {
	f.mu.Lock()
	f.asked = append(f.asked, t.String()+" "+name)
	f.mu.Unlock()
	if ctx.Err() != nil {
		return mx.Answer{}, ctx.Err()
	}
	return f.answer(name, t)
}

func (f *fake) answer(name string, t mx.Type) (mx.Answer, error) {
	a := mx.Answer{Status: mx.Success, Name: name, TTL: time.Hour, Secure: f.isSecure(name)}
	if ttl, ok := f.ttl[name+" "+t.String()]; ok {
		a.TTL = ttl
	}
	if to := f.replies[name+" CNAME"]; len(to) > 0 {
		a.Name, a.Aliases = to[0], []mx.Alias{{From: name, To: to[0], Secure: a.Secure}}
		if t == mx.TypeCNAME {
			return a, nil
		}
		a.Status = mx.Aliased
		if f.wide {
			rest, err := f.answer(to[0], t)
			rest.Aliases = append(a.Aliases, rest.Aliases...)
			rest.Secure = rest.Secure && a.Secure
			return rest, err
		}
		return a, nil
	}
	data := f.replies[name+" "+t.String()]
	if len(data) == 0 {
		data = f.replies[name+" *"]
	}
	if len(data) == 0 {
		a.Status = mx.NXDomain
		if f.names[name] {
			a.Status = mx.NoData
		}
		return a, nil
	}
	err := parseData(&a, t, data)
	return a, err
}

func (f *fake) isSecure(name string) bool {
	for _, zone := range f.secure {
		if name == zone || strings.HasSuffix(name, "."+zone) {
			return true
		}
	}
	return false
}

// parseData puts data into an answer of type t, or makes a fault of it.
func parseData(a *mx.Answer, t mx.Type, data []string) error {
	for _, d := range data {
		fields := strings.Fields(d)
		switch {
		case d == "SERVFAIL":
			return &mx.ResolveError{Name: a.Name, Type: t, Server: "fake", Kind: mx.ServFail}
		case d == "BOGUS":
			return &mx.ResolveError{Name: a.Name, Type: t, Server: "fake", Kind: mx.Bogus}
		case d == "NXDOMAIN":
			a.Status = mx.NXDomain
		case d == "NOTFOUND":
			a.Status = mx.NotFound
		case d == "NODATA":
			a.Status = mx.NoData
		case d == "NOTHING":
			a.Status = mx.StatusNone
		case d == "EMPTY":
		case t == mx.TypeMX && len(fields) == 2:
			n, err := strconv.ParseUint(fields[0], 10, 16)
			if err != nil {
				return fmt.Errorf("preference %q: %w", d, err)
			}
			a.MX = append(a.MX, mx.MX{Preference: uint16(n), Host: strings.TrimSuffix(fields[1], ".")})
		default:
			for _, s := range fields {
				a.Addrs = append(a.Addrs, netip.MustParseAddr(s))
			}
		}
	}
	return nil
}
