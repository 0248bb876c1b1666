package cli

import (
	"testing"
	"time"
)

// TestDurationText writes durations as help shows defaults, and reads them again.
func TestDurationText(t *testing.T) {
	for v, want := range map[time.Duration]string{
		0: "0s", 30 * time.Second: "30s", 90 * time.Second: "1m30s", 2 * time.Minute: "2m", 10 * time.Minute: "10m", 4 * time.Hour: "4h",
		90 * time.Minute: "1h30m", time.Hour + time.Second: "1h0m1s", 30 * time.Hour: "30h", 5 * 24 * time.Hour: "5d", 1500 * time.Millisecond: "1.5s",
	} {
		d := Duration(v)
		if got := d.String(); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
		if got, err := ParseDuration(want); err != nil || got != v {
			t.Errorf("%s is %v, %v", want, got, err)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		text string
		want time.Duration // -1: refused
	}{
		{"30s", 30 * time.Second},
		{"5d", 5 * 24 * time.Hour},
		{"1.5d", 36 * time.Hour},
		{"1d12h", 36 * time.Hour},
		{"0", 0},
		{"0d", 0},
		{"", -1},
		{"d", -1},
		{"5", -1},
		{"-5s", -1},
		{"-1d", -1},
		{"1d-1h", -1},
		{"NaNd", -1},
		{"1e9d", -1},
		{"5dd", -1},
	} {
		t.Run(c.text, func(t *testing.T) {
			got, err := ParseDuration(c.text)
			if c.want < 0 {
				if err == nil {
					t.Errorf("%v, want an error", got)
				}
			} else if err != nil || got != c.want {
				t.Errorf("%v, %v, want %v", got, err, c.want)
			}
		})
	}
}
