package cli

import (
	"strings"
	"testing"
)

func TestHelloName(t *testing.T) {
	for machine, want := range map[string]string{
		"mail.example.org":                    "mail.example.org",
		"Mail.Example.ORG.":                   "mail.example.org",
		"a-1.b2.example":                      "a-1.b2.example",
		"xn--bcher-kva.example":               "xn--bcher-kva.example",
		"":                                    "",
		".":                                   "",
		"mailhost":                            "",
		"sim-app-5b8f7d9c4-x2k9q":             "",
		"my_host":                             "",
		"app_1.internal":                      "",
		"my_host.example.org":                 "",
		"-a.example":                          "",
		"a-.example":                          "",
		"a..example":                          "",
		".example":                            "",
		"b\u00fccher.example":                 "",
		"my host.example":                     "",
		"localhost":                           "",
		"localhost.localdomain":               "",
		"localhost.example.org":               "",
		"a.localhost":                         "",
		"host.localdomain":                    "",
		"host.invalid":                        "",
		"192.0.2.1":                           "",
		"ip-10-0-0-1.ec2.internal":            "ip-10-0-0-1.ec2.internal",
		strings.Repeat("a", 64) + ".example":  "",
		strings.Repeat("a.", 127) + "example": "",
		strings.Repeat("a.", 120) + "example": strings.Repeat("a.", 120) + "example",
	} {
		if got := helloName(machine); got != want {
			t.Errorf("a machine called %q says EHLO %q, want %q", machine, got, want)
		}
	}
}
