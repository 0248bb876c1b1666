package queue_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

func ExampleReceived() {
	content := queue.String("Subject: Hello\r\n\r\nHello!\r\n")
	trace := queue.Received{
		From: "client.example", Client: netip.MustParseAddr("192.0.2.7"), By: "mx.example.org", With: "ESMTPS", ID: "01J0",
		For: "bob@example.org", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	m := queue.Message{Content: queue.Prepend(trace.String(), content)}
	fmt.Println(m.Content.Size() - content.Size())
	fmt.Print(strings.NewReplacer("\r\n", "\n", "\t", "  ").Replace(trace.String()))
	// Output:
	// 144
	// Received: from client.example ([192.0.2.7])
	//   by mx.example.org with ESMTPS id 01J0
	//   for <bob@example.org>;
	//   Fri, 02 Jan 2026 03:04:05 +0000
}

// TestReceived is the field of RFC 5321 section 4.4, whatever clients say of themselves.
func TestReceived(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", -3600))
	ip4, ip6 := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		name string
		r    queue.Received
		want string
	}{
		{"mail of this machine", queue.Received{By: "h.example", Comment: "nexthop, from userid 5", ID: "k"}, " by h.example (nexthop, from userid 5) id k;"},
		{"an IPv4 client", queue.Received{From: "c.example", Client: ip4, By: "h.example", With: "SMTP"}, " from c.example ([192.0.2.7])\r\n\tby h.example with SMTP;"},
		{"an IPv6 client that says its address", queue.Received{From: "[IPv6:2001:db8::1]", Client: ip6, By: "h.example"},
			" from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\r\n\tby h.example;"},
		{"an IPv4 client at an IPv6 socket", queue.Received{From: "c", Client: netip.AddrFrom16(ip4.As16()), By: "h.example"}, " from c ([192.0.2.7])\r\n\tby h.example;"},
		{"a client without a name", queue.Received{Client: ip4, By: "h.example"}, " from [192.0.2.7] ([192.0.2.7])\r\n\tby h.example;"},
		{"a client without an address", queue.Received{From: "c.example", By: "h.example"}, " from c.example\r\n\tby h.example;"},
		{"a name beyond ASCII", queue.Received{From: "bücher.example", Client: ip4, By: "bücher.example"},
			" from xn--bcher-kva.example ([192.0.2.7])\r\n\tby xn--bcher-kva.example;"},
		{"a forged field", queue.Received{From: "c\r\nX: y (", Client: ip4, By: "h.example", ID: "1;\n2", Comment: "a)\r\nb\\"},
			" from c??X:?y?? ([192.0.2.7])\r\n\tby h.example (a???b?) id 1??2;"},
		{"a recipient", queue.Received{By: "h.example", For: "u@e.example"}, " by h.example\r\n\tfor <u@e.example>;"},
		{"a recipient's domain beyond ASCII", queue.Received{By: "h.example", For: "u@bücher.example"}, " by h.example\r\n\tfor <u@xn--bcher-kva.example>;"},
		{"a recipient beyond ASCII", queue.Received{By: "h.example", For: "ü@e.example"}, " by h.example;"},
		{"a quoted recipient", queue.Received{By: "h.example", For: `"a b"@e.example`}, " by h.example\r\n\tfor <\"a b\"@e.example>;"},
		{"a recipient with dots in a row", queue.Received{By: "h.example", For: "a..b@e.example"}, " by h.example\r\n\tfor <\"a..b\"@e.example>;"},
		{"a forged recipient", queue.Received{By: "h.example", For: "u@e.example>\r\nX: y"}, " by h.example;"},
		{"nothing", queue.Received{}, " by ?;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.r.Time = at
			if got, want := c.r.String(), "Received:"+c.want+"\r\n\tFri, 02 Jan 2026 03:04:05 -0100\r\n"; got != want {
				t.Errorf("got\n%q\nwant\n%q", got, want)
			}
		})
	}
	much := func(s string) string { return strings.Repeat(s, 5000) }
	long := queue.Received{
		From: much("x"), Client: ip6, By: much("ü"), With: much("\n"), ID: much("i"), For: much("y") + "@e.example", Comment: much("z"),
	}
	for line := range strings.SplitSeq(long.String(), "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("a line of %d octets", len(line))
		}
	}
}
