package object

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestTextAsEncodingJSON: any octet anywhere in a text is encoded as by encoding/json, and a
// text without special ones stands as it is.
func TestTextAsEncodingJSON(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				octets := []byte(strings.Repeat("~", length))
				octets[at] = byte(c)
				f, want := New(64), New(64)
				f.Text("text", string(octets))
				want.Name("text")
				want.encode(string(octets))
				if string(f.b) != string(want.b) {
					t.Fatalf("%q is encoded as %s, want %s", octets, f.b, want.b)
				}
				if special := c < ' ' || c > '~' || c == '"' || c == '\\'; verbatim(string(octets)) == special {
					t.Fatalf("%q is verbatim: %t", octets, special)
				}
			}
		}
	}
}

func TestFields(t *testing.T) {
	nested := func(f *Fields) { f.Number("n", -1) }
	for want, add := range map[string]func(f *Fields){
		`{}`:                  func(*Fields) {},
		`{"a":"b","c":""}`:    func(f *Fields) { f.Text("a", "b"); f.Text("c", "") },
		`{"a":"\"\u00fc<\n"}`: func(f *Fields) { f.TextIf("x", ""); f.TextIf("a", "\"\u00fc<\n") },
		`{"d":1.5,"e":-0.000001}`: func(f *Fields) {
			f.SecondsIf("x", 0)
			f.SecondsIf("y", 499*time.Nanosecond) // less than is shown
			f.SecondsIf("d", 1500*time.Millisecond)
			f.SecondsIf("e", -time.Microsecond)
		},
		`{"o":{"n":-1},"p":{"n":-1}}`: func(f *Fields) {
			f.ObjectIf("o", nested)
			f.ObjectIf("x", func(*Fields) {})
			f.ObjectIf("p", nested)
		},
		`{"v":{"k":["<"]}}`: func(f *Fields) { f.Value("v", map[string][]string{"k": {"<"}}) },
	} {
		f := New(0)
		add(&f)
		got, err := f.Object()
		var a, b any
		if err != nil || json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
			t.Errorf("%s, %v; want %s", got, err, want)
		} else if x, _ := json.Marshal(a); !strings.Contains(string(got), "<") && string(got) != want {
			t.Errorf("%s, want %s", got, want)
		} else if y, _ := json.Marshal(b); string(x) != string(y) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f := New(0)
	f.Value("v", make(chan int))
	f.Text("a", "b")
	if got, err := f.Object(); err == nil {
		t.Errorf("%s, want the error of a value that cannot be encoded", got)
	}
	if _, err := Encode(make(chan int)); err == nil {
		t.Error("a channel is encoded")
	}
}

func TestTexts(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 30, 0, 5, time.FixedZone("", 3600))
	if got := Instant(at); got != "2026-03-02T08:30:00.000000005Z" {
		t.Error(got)
	}
	if got := Instant(time.Time{}) + Addr(netip.AddrPort{}); got != "" {
		t.Errorf("what is not there is %q", got)
	}
	if got := Addr(netip.MustParseAddrPort("[::1]:25")); got != "[::1]:25" {
		t.Error(got)
	}
}
