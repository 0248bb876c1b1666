package smarthost_test

import (
	"fmt"
	"testing"

	"github.com/nexthop-mail/nexthop/smarthost"
)

// TestPreferenceText prints a preference as its number, and reads it back.
func TestPreferenceText(t *testing.T) {
	for want, p := range map[string]smarthost.Preference{
		"none": {}, "0": smarthost.Prefer(0), "3": smarthost.Prefer(3), "65535": smarthost.Prefer(65535),
	} {
		text, err := p.MarshalText()
		got := smarthost.Prefer(9)
		if back := got.UnmarshalText(text); err != nil || back != nil || got != p || string(text) != want || fmt.Sprint(p) != want {
			t.Errorf("%v: %q, %v, read as %v, %v, want %s", p, text, err, got, back, want)
		}
	}
	for _, text := range []string{"", "-1", "65536", "None", "1.5", " 1"} {
		p := smarthost.Prefer(9)
		if err := p.UnmarshalText([]byte(text)); err == nil || p != smarthost.Prefer(9) {
			t.Errorf("%q is %v, %v", text, p, err)
		}
	}
}
