package mxtest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

const zones = `
	$ORIGIN example.com.
	$TTL 1h
	@       SOA    ns hostmaster 1 7200 3600 1209600 300
	@       MX     10 mail
	@       MX     20 backup.example.net.
	mail    A      192.0.2.25
	mail    AAAA   2001:db8::25

	$ORIGIN example.net.
	backup  CNAME  host7                 ; not by the book, and common
	host7   A      198.51.100.7`

// A DNS is a resolver by itself.
func ExampleDNS() {
	ctx := context.Background()
	dns := &mxtest.DNS{Zone: zones}
	a, err := dns.Resolve(ctx, "example.com", mx.TypeMX)
	fmt.Println(a.Status == mx.Success, a.MX, a.TTL, err)
	a, err = dns.Resolve(ctx, "backup.example.net", mx.TypeA)
	fmt.Println(a.Addrs, a.Aliases[0].To, err)
	a, err = dns.Resolve(ctx, "ftp.example.com", mx.TypeA)
	fmt.Println(a.Status == mx.NXDomain, a.TTL, err)
	// Output:
	// true [{10 mail.example.com} {20 backup.example.net}] 1h0m0s <nil>
	// [198.51.100.7] host7.example.net <nil>
	// true 5m0s <nil>
}

// Rules say what goes wrong, from the start or from now on.
func ExampleDNS_Set() {
	ctx := context.Background()
	dns := &mxtest.DNS{
		Zone: zones,
		Rules: []mxtest.Rule{
			{Name: "example.com", Type: mx.TypeMX, Fault: mxtest.ServFail, Times: 1},
		},
	}
	ask := func() {
		a, err := dns.Resolve(ctx, "example.com", mx.TypeMX)
		fmt.Println(a.MX, err)
	}
	ask() // fails once
	ask() // as the zone says
	err := dns.Set(mxtest.Rule{Name: "example.com", Type: mx.TypeMX, Records: "60 MX 5 new.example.org."})
	fmt.Println(err)
	ask()
	fmt.Println("asked", dns.Count("example.com", mx.TypeMX), "times")
	// Output:
	// [] MX of example.com: server failure
	// [{10 mail.example.com} {20 backup.example.net}] <nil>
	// <nil>
	// [{5 new.example.org}] <nil>
	// asked 3 times
}

// A mistake in a zone is found where it is.
func ExampleDNS_Validate() {
	dns := &mxtest.DNS{Zone: `
		$ORIGIN example.com.
		@     MX  10 mail
		mail  A   192.0.2.256`}
	err := dns.Validate()
	fmt.Println(err)
	var syntax *mxtest.SyntaxError
	if errors.As(err, &syntax) {
		fmt.Println("line", syntax.Line)
	}
	// Output:
	// zone text, line 4: mail  A   192.0.2.256: dns: bad A A: "192.0.2.256" at line: 4:21
	// line 4
}

// The real client, over real messages, in memory.
func ExampleDNS_Dial() {
	dns := &mxtest.DNS{Zone: zones, Signed: map[string]bool{"example.com": true}}
	client := &mx.Client{
		Servers: []mx.Server{{Addr: "192.0.2.53:53", TrustAD: true}},
		Dial:    dns.Dial,
	}
	a, err := client.Resolve(context.Background(), "mail.example.com", mx.TypeAAAA)
	fmt.Println(a.Addrs, a.Secure, err)
	for _, q := range dns.Queries() {
		fmt.Println(q.Transport, q.Name, q.Type, q.AD)
	}
	// Output:
	// [2001:db8::25] true <nil>
	// udp mail.example.com AAAA true
}

// A server on loopback, for programs that are told where DNS is.
func ExampleServer() {
	server := &mxtest.Server{DNS: &mxtest.DNS{Zone: zones}}
	if err := server.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client := &mx.Client{Servers: []mx.Server{{Addr: server.Addr()}}}
	a, err := client.Resolve(context.Background(), "example.com", mx.TypeMX)
	fmt.Println(a.MX, err)
	// Output:
	// [{10 mail.example.com} {20 backup.example.net}] <nil>
}
