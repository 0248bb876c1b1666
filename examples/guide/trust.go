package guide

import (
	"errors"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx"
)

// TrustingSender goes by DANE and MTA-STS, keeps policies in a directory, and gives mail for
// partner.example only to hosts that DANE authenticates.
func TrustingSender(resolver mx.Resolver, dir string) *delivery.Sender {
	return &delivery.Sender{
		Resolver: resolver,
		Policy: &trust.Source{
			Resolver: resolver,
			Store:    &mtasts.Dir{Path: dir},
			Rules: []trust.Rule{
				{Match: delivery.Match{Domain: "partner.example"}, Level: trust.DANEOnly},
			},
		},
	}
}

// WhyKept is why a policy has kept mail back, and who can put that right; empty if no policy
// has.
func WhyKept(err error) string {
	refused, ok := errors.AsType[*delivery.PolicyError](err)
	if !ok {
		return ""
	}
	d := refused.Decision
	return d.Host + ": " + d.Reason + ", to be put right by: " + d.Fault.String()
}
