package smarthost_test

import (
	"context"
	"fmt"

	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// exampleDNS stands for DNS, so that the examples need no network.
func exampleDNS() *mxtest.DNS {
	return &mxtest.DNS{Zone: `
		$ORIGIN example.com.
		@      MX 10 mx
		mx     A  192.0.2.1
		$ORIGIN example.net.
		@      MX 10 mx
		mx     A  192.0.2.2
		$ORIGIN example.org.
		mail   A  198.51.100.1
		backup A  198.51.100.2`}
}

func ExampleParse() {
	host, err := smarthost.Parse("submission://alice%40example.org:secret@mail.example.org?tls=encrypt")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(host.Name, host.Port, host.Login)
	fmt.Println(host)
	fmt.Println(host.URL())
	// Output:
	// mail.example.org 587 login of "alice@example.org"
	// submission://alice%40example.org@mail.example.org?tls=encrypt
	// submission://alice%40example.org:secret@mail.example.org?tls=encrypt
}

// Postfix and sendmail have notations of their own.
func ExampleParse_notations() {
	for _, notation := range []string{"[mail.example.org]:587", "mail.example.org", "esmtp:[mail.example.org]"} {
		host, err := smarthost.Parse(notation)
		fmt.Println(host, err)
	}
	// Output:
	// smtp://mail.example.org:587 <nil>
	// smtp://mail.example.org?mx=1 <nil>
	// smtp://mail.example.org <nil>
}

func ExampleParseList() {
	hosts, err := smarthost.ParseList("[mail.example.org]:587, [backup.example.org]:587")
	fmt.Println(hosts, err)
	// Output: [smtp://mail.example.org:587 smtp://backup.example.org:587] <nil>
}

// All mail through one server.
func ExampleVia() {
	table, err := smarthost.Via("submission://alice:secret@[192.0.2.7]")
	if err != nil {
		fmt.Println(err)
		return
	}
	route, err := table.Route(context.Background(), "alice@example.org", "example.com")
	fmt.Println(route.Via, route.Hosts[0].Addrs, route.Hosts[0].Port, err)
	// Output: smarthost [192.0.2.7] 587 <nil>
}

func ExamplePrefer() {
	host := smarthost.Host{Name: "mail.example.org", Preference: smarthost.Prefer(10)}
	fmt.Println(host)
	// Output: smtp://mail.example.org?pref=10
}

// A Table can be given other rules while mail flows.
func ExampleTable() {
	table := &smarthost.Table{Router: &mx.Router{Resolver: &mx.Cache{Resolver: exampleDNS()}}}
	err := table.Set(smarthost.Rules{
		Default: []smarthost.Host{{Name: "mail.example.org", Port: 587}, {Name: "backup.example.org", Port: 587}},
		Special: []smarthost.Rule{
			{To: "example.net", MX: true},
			{From: "<>", Hosts: []smarthost.Host{{Name: "backup.example.org"}}},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, from := range []string{"alice@example.org", ""} {
		for _, domain := range []string{"example.com", "example.net"} {
			route, err := table.Route(context.Background(), from, domain)
			if err != nil {
				fmt.Println(err)
				continue
			}
			fmt.Printf("%q to %s by %v:", from, domain, route.Via)
			for _, host := range route.Hosts {
				fmt.Printf(" %s", host.Name)
			}
			fmt.Println()
		}
	}
	// Output:
	// "alice@example.org" to example.com by smarthost: mail.example.org backup.example.org
	// "alice@example.org" to example.net by mx: mx.example.net
	// "" to example.com by smarthost: backup.example.org
	// "" to example.net by mx: mx.example.net
}
