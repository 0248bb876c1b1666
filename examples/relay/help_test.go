package main

import (
	"os"
	"strings"
	"testing"
)

// TestHelp: the commands have help, and it shows no secrets of the environment.
func TestHelp(t *testing.T) {
	for _, words := range [][]string{{"-help"}, {"queue", "-help"}, {"sites", "-help"}, {"passwd", "-help"}, {"migrate", "-help"}, {"tls-reports", "-help"}} {
		t.Run(strings.Join(words, " "), func(t *testing.T) {
			c := command(words...)
			c.Env = append(os.Environ(), "NEXTHOP_QUEUE=postgres://u:hunter2@127.0.0.1:1/d", "PGPASSWORD=hunter2")
			out, err := c.CombinedOutput()
			if err != nil || !strings.HasPrefix(string(out), "usage: relay ") {
				t.Fatalf("%v: %s", err, out)
			}
			if strings.Contains(string(out), "hunter2") {
				t.Errorf("it shows a password:\n%s", out)
			}
		})
	}
}
