package mx_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
)

// shaky is a resolver that panics when it is asked for an address.
type shaky struct{}

func (shaky) Resolve(_ context.Context, name string, t mx.Type) (mx.Answer, error) {
	if t != mx.TypeMX {
		panic("no addresses here")
	}
	return mx.Answer{Name: name, TTL: 60, MX: []mx.MX{{Preference: 10, Host: "mx." + name}}}, nil
}

// TestResolverPanics: it has not answered, which is temporary, and the program
// goes on.
func TestResolverPanics(t *testing.T) {
	for name, r := range map[string]mx.Resolver{"by itself": shaky{}, "behind a cache": &mx.Cache{Resolver: shaky{}}} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				_, err := mx.Lookup(t.Context(), r, "e.test")
				var e *mx.Error
				if !errors.As(err, &e) || !e.Temporary() {
					t.Errorf("%v, want a temporary *mx.Error", err)
				}
			}
		})
	}
}
