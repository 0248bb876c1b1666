package mx_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// exampleDNS stands for DNS, so that the examples need no network.
func exampleDNS() *mxtest.DNS {
	return &mxtest.DNS{Zone: `
		$ORIGIN example.com.
		@       MX     10 mail
		@       MX     20 backup.example.net.
		mail    A      192.0.2.25
		mail    AAAA   2001:db8::25
		www     CNAME  @

		$ORIGIN example.net.
		backup  A      198.51.100.7

		$ORIGIN example.org.
		@       MX     0 .`}
}

func ExampleLookup() {
	route, err := mx.Lookup(context.Background(), exampleDNS(), "example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, host := range route.Hosts {
		fmt.Println(host.Preference, host.Name, host.Addrs)
	}
	// Output:
	// 10 mail.example.com [2001:db8::25 192.0.2.25]
	// 20 backup.example.net [198.51.100.7]
}

// The error says whether to try again, and what a bounce would say.
func ExampleError() {
	_, err := mx.Lookup(context.Background(), exampleDNS(), "example.org")
	if e, ok := errors.AsType[*mx.Error](err); ok {
		fmt.Println(e)
		fmt.Println(e.Temporary(), e.Code, e.Enhanced)
	}
	// Output:
	// example.org: domain takes no mail
	// false 556 5.1.10
}

// A secondary mail exchanger leaves out itself and everything no better.
func ExampleRouter() {
	router := &mx.Router{
		Resolver:  &mx.Cache{Resolver: exampleDNS()},
		Self:      []string{"backup.example.net"},
		SelfAddrs: []netip.Addr{netip.MustParseAddr("203.0.113.1")},
	}
	route, err := router.Route(context.Background(), "example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, host := range route.Hosts {
		fmt.Println(host.Preference, host.Name)
	}
	for _, left := range route.LeftOut {
		fmt.Printf("not %s: %v\n", left.Host.Name, left.Reason)
	}
	// Output:
	// 10 mail.example.com
	// not backup.example.net: it is this host
}

// A smart host is looked up by address alone.
func ExampleRouter_Addresses() {
	router := &mx.Router{Resolver: exampleDNS(), Order: mx.PreferIPv4}
	host, err := router.Addresses(context.Background(), "mail.example.com")
	fmt.Println(host.Name, host.Addrs, err)
	// Output:
	// mail.example.com [192.0.2.25 2001:db8::25] <nil>
}

// A dialler that resolves names by itself asks before it connects.
func ExampleRouter_Permits() {
	router := &mx.Router{RefusePrivate: true}
	fmt.Println(router.Permits(netip.MustParseAddr("192.0.2.25")))
	fmt.Println(router.Permits(netip.MustParseAddr("169.254.169.254")))
	fmt.Println(router.Permits(netip.MustParseAddr("10.0.0.1")))
	// Output:
	// true
	// false
	// false
}

func ExampleFollow() {
	a, err := mx.Follow(context.Background(), exampleDNS(), "www.example.com", mx.TypeMX)
	fmt.Println(a.Name, len(a.MX), err)
	// Output:
	// example.com 2 <nil>
}

// A Client is told which servers to ask. Dial is only set to stay off the
// network.
func ExampleClient() {
	client := &mx.Client{
		Servers: []mx.Server{{Addr: "192.0.2.53:53"}, {Addr: "[2001:db8::53]:53"}},
		Dial:    exampleDNS().Dial,
	}
	a, err := client.Resolve(context.Background(), "example.com", mx.TypeMX)
	fmt.Println(a.MX, a.TTL, err)
	// Output:
	// [{10 mail.example.com} {20 backup.example.net}] 5m0s <nil>
}

// The usual setup: the system's servers behind a cache.
func ExampleSystem() {
	client, err := mx.System()
	if err != nil {
		fmt.Println(err) // no /etc/resolv.conf: mx.FromNet(nil) may serve
		return
	}
	router := &mx.Router{Resolver: &mx.Cache{Resolver: client}}
	fmt.Println(router.Validate())
	// Output:
	// <nil>
}

func ExampleCache() {
	dns := &mxtest.DNS{Zone: "example.com. 300 MX 10 mail.example.com."}
	cache := &mx.Cache{Resolver: dns}
	for range 3 {
		a, err := cache.Resolve(context.Background(), "example.com", mx.TypeMX)
		fmt.Println(a.MX, err)
	}
	fmt.Println("asked", dns.Count("example.com", mx.TypeMX), "times")
	// Output:
	// [{10 mail.example.com}] <nil>
	// [{10 mail.example.com}] <nil>
	// [{10 mail.example.com}] <nil>
	// asked 1 times
}

// Where there is no /etc/resolv.conf, Go's own resolver knows whom to ask.
func ExampleFromNet() {
	router := &mx.Router{Resolver: mx.FromNet(nil)}
	_, err := router.Route(context.Background(), "no..domain")
	fmt.Println(err)
	// Output:
	// no..domain: not a domain name: "no..domain": empty label
}
