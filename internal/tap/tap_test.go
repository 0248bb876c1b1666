package tap_test

import (
	"io"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/internal/tap"
)

func TestTapRemembers(t *testing.T) {
	client, server := smtptest.Pipe()
	defer server.Close()
	conn := tap.New(client)
	defer conn.Close()
	io.WriteString(conn, "one")
	io.WriteString(server, "two!")
	io.ReadFull(conn, make([]byte, 4))
	io.WriteString(conn, "three")
	if got := string(conn.AllWritten()); got != "onethree" {
		t.Errorf("written %q", got)
	}
	if got := string(conn.AllRead()); got != "two!" {
		t.Errorf("read %q", got)
	}
	var octets []int
	for _, e := range conn.Events() {
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
