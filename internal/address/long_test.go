package address_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/internal/address"
)

// longInputs are as long as they are looked at, and of every kind.
func longInputs() map[string]string {
	return map[string]string{
		"backslashes": `"` + strings.Repeat(`\\`, 490) + `"@e.test`,
		"labels":      "u@" + strings.Repeat("a.", 490) + "b",
		"U-labels":    "u@" + strings.Repeat("ü.", 330) + "b",
		"U-label":     "u@" + strings.Repeat("üößä", 120),
		"A-labels":    "u@" + strings.Repeat("xn--bcher-kva.", 70) + "b",
		"A-label":     "u@xn--" + strings.Repeat("z", 980),
		"route":       strings.Repeat("@a,", 320) + "@b:u@e.test",
		"quotes":      strings.Repeat(`"`, 990),
	}
}

// TestLongInputs: nothing takes long, and a million octets are refused unread.
func TestLongInputs(t *testing.T) {
	inputs := longInputs()
	inputs["a million octets"] = strings.Repeat("a", 1_000_000) + "@e.test"
	inputs["a million octets of domain"] = "u@" + strings.Repeat("ü", 500_000)
	for name, s := range inputs {
		t.Run("SMTP-12 "+name, func(t *testing.T) {
			start := time.Now()
			for range 10 {
				_, _ = address.Parse(s)
				_, _ = address.ParseDomain(s[strings.LastIndexByte(s, '@')+1:])
				_, _ = address.ParseHost(s)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
