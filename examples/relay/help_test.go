package main

import (
	"strings"
	"testing"
)

// TestHelp: the commands have help, and it names no kind of queue that is not there.
func TestHelp(t *testing.T) {
	for _, words := range [][]string{{"-help"}, {"queue", "-help"}, {"sites", "-help"}, {"passwd", "-help"}} {
		t.Run(strings.Join(words, " "), func(t *testing.T) {
			out, err := command(words...).CombinedOutput()
			if err != nil || !strings.HasPrefix(string(out), "usage: relay ") {
				t.Fatalf("%v: %s", err, out)
			}
			if strings.Contains(string(out), "postgres") {
				if said, _ := command("-queue", "postgres://user@127.0.0.1:1/mail", "-listen", "127.0.0.1:0").CombinedOutput(); strings.Contains(string(said), "built without") {
					t.Errorf("it names postgres, and the relay says %s", said)
				}
			}
		})
	}
}
