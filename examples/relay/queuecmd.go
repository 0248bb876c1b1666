package main

import (
	"context"
	"io"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

func administer(_ context.Context, _ []string, _, stderr io.Writer) int {
	return cli.Complain(stderr, "relay", cli.Config("queue: not yet"))
}
