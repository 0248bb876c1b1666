package guide

import (
	"errors"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/mtasts"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/mx"
)

// TrustingSender uses DANE and MTA-STS, keeps policies in a directory, and sends mail for
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

// WhyKept says why a policy has held mail back, and who can fix that. It is empty if the error
// has another cause.
func WhyKept(err error) string {
	refused, ok := errors.AsType[*delivery.PolicyError](err)
	if !ok {
		return ""
	}
	d := refused.Decision
	return d.Host + ": " + d.Reason + ", to be fixed by: " + d.Fault.String()
}
