package cli

import (
	"testing"
	"time"
)

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
