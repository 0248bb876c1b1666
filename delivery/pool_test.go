package delivery_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/mx"
)

// TestCloseWhileSending is a Sender that is closed again and again while it
// sends. The race detector judges, and that Close comes back.
func TestCloseWhileSending(t *testing.T) {
	s := &delivery.Sender{Hello: "from.test", Router: oneHost{}, MaxIdle: -1, Dial: dialGreylister}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				report, err := s.Send(t.Context(), message("u@e.test"))
				if r := &report.Recipients[0]; err == nil || r.Reply.Code != 450 {
					t.Errorf("%v: %v", r.Outcome, r.Err)
				}
			}
		})
	}
	for range 1000 {
		s.Close()
	}
	wg.Wait()
	s.Close()
}

// dialGreylister connects to a server that answers MAIL with "later".
func dialGreylister(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		in := bufio.NewReader(server)
		for _, reply := range []string{"220 hi", "250 hi", "450 4.2.0 later", "221 bye"} {
			if _, err := fmt.Fprint(server, reply, "\r\n"); err != nil {
				return
			}
			if _, err := in.ReadString('\n'); err != nil {
				return
			}
		}
	}()
	return client, nil
}

// oneHost is a Router that knows one host.
type oneHost struct{}

func (oneHost) Route(_ context.Context, _, domain string) (mx.Route, error) {
	return mx.Route{Domain: domain, Hosts: []mx.Host{{Name: "mx1.e.test", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}}, nil
}
