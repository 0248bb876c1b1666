package mx_test

import (
	"testing"

	"github.com/nexthop-mail/nexthop/mx"
)

// TestTypeText prints types of records as zones have them, and reads them back.
func TestTypeText(t *testing.T) {
	for n, want := range map[mx.Type]string{
		mx.TypeA: "A", mx.TypeMX: "MX", mx.TypeTLSA: "TLSA", 0: "TYPE0", 99: "TYPE99", 65535: "TYPE65535",
	} {
		text, err := n.MarshalText()
		var got mx.Type
		if back := got.UnmarshalText(text); err != nil || back != nil || got != n || string(text) != want {
			t.Errorf("%d: %q, %v, read as %d, %v, want %s", uint16(n), text, err, uint16(got), back, want)
		}
	}
	for _, text := range []string{"", "mx", "TYPE", "TYPE65536", "TYPE-1", "TYPE 1"} {
		got := mx.TypeMX
		if err := got.UnmarshalText([]byte(text)); err == nil || got != mx.TypeMX {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}
