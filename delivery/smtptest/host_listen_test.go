package smtptest_test

import (
	"net"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// TestListen has a host on an address that the program chooses, without a test around it.
func TestListen(t *testing.T) {
	host := &smtptest.Host{}
	addr, end, err := host.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := new(smtptest.Host).Listen(addr.String()); err == nil {
		t.Error("a second host on the same address")
	}
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	greeting := make([]byte, 4)
	if _, err := conn.Read(greeting); err != nil || string(greeting) != "220 " {
		t.Errorf("%q, %v", greeting, err)
	}
	end()
	if _, err := net.Dial("tcp", addr.String()); err == nil {
		t.Error("it still listens")
	}
}
