package mtasts_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// A policy that is in the store, and that the domain still speaks of.
func ExampleSource_Find() {
	ctx := context.Background()
	store := &mtasts.Memory{}
	policy, err := mtasts.ParsePolicy([]byte("version: STSv1\nmode: enforce\nmx: *.example.com\nmax_age: 604800\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Now()
	if err := store.Save(ctx, mtasts.Entry{Domain: "example.com", ID: "20260101", Policy: policy, Fetched: now, Used: now}); err != nil {
		fmt.Println(err)
		return
	}

	dns := &mxtest.DNS{Zone: `_mta-sts.example.com TXT "v=STSv1; id=20260101;"`}
	source := mtasts.Source{Resolver: dns, Store: store}
	found := source.Find(ctx, "example.com")
	fmt.Println(found.Origin, found.Policy.Mode)
	for _, host := range []string{"mx.example.com", "mx.example.net"} {
		fmt.Println(host, found.Policy.Matches(host))
	}
	// Output:
	// live enforce
	// mx.example.com true
	// mx.example.net false
}

func ExampleParsePolicy() {
	_, err := mtasts.ParsePolicy([]byte("version: STSv1\nmode: Enforce\nmx: mx.example.com\nmax_age: 604800\n"))
	fmt.Println(err)
	// Output: the policy is not valid: line 2: the mode must be enforce, testing or none, not "Enforce"
}
