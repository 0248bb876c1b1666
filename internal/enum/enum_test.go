package enum_test

import (
	"strings"
	"testing"

	"github.com/nexthop-mail/nexthop/internal/enum"
)

type colour uint8

func names() []string { return []string{"red", "light-green"} }

// TestText is the text of values that have a name, and of those that have none.
func TestText(t *testing.T) {
	for v, want := range names() {
		text, err := enum.Marshal("test.Colour", names(), colour(v))
		if s := enum.String("test.Colour", names(), colour(v)); s != want || string(text) != want || err != nil {
			t.Errorf("%d: %q, %q, %v, want %q", v, s, text, err, want)
		}
		got := colour(77)
		if err := enum.Unmarshal("test.Colour", names(), &got, text); err != nil || got != colour(v) {
			t.Errorf("%q is %d, %v, want %d", text, got, err, v)
		}
	}
	for _, v := range []colour{2, 255} {
		if text, err := enum.Marshal("test.Colour", names(), v); err == nil {
			t.Errorf("%d: %q, want an error", v, text)
		}
	}
	if got := enum.String("test.Colour", names(), colour(2)); got != "test.Colour(2)" {
		t.Errorf("a value without a name: %q", got)
	}
	for _, text := range []string{"", "Red", "red ", "light", strings.Repeat("x", 1000)} {
		v := colour(1)
		err := enum.Unmarshal("test.Colour", names(), &v, []byte(text))
		if err == nil || v != 1 || len(err.Error()) > 100 || !strings.HasSuffix(err.Error(), "; want one of red, light-green") {
			t.Errorf("%.50q: %d, %v", text, v, err)
		}
	}
}
