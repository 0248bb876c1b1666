package smtptest_test

import (
	"io"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

func TestTapRemembers(t *testing.T) {
	client, server := smtptest.Pipe()
	defer server.Close()
	tap := smtptest.NewTap(client)
	defer tap.Close()
	io.WriteString(tap, "one")
	io.WriteString(server, "two!")
	io.ReadFull(tap, make([]byte, 4))
	io.WriteString(tap, "three")
	if got := string(tap.AllWritten()); got != "onethree" {
		t.Errorf("written %q", got)
	}
	if got := string(tap.AllRead()); got != "two!" {
		t.Errorf("read %q", got)
	}
	var octets []int
	for _, e := range tap.Events() {
		n := e.Octets
		if !e.Written {
			n = -n
		}
		octets = append(octets, n)
	}
	if len(octets) != 3 || octets[0] != 3 || octets[1] != -4 || octets[2] != 5 {
		t.Errorf("events %v", octets)
	}
}
