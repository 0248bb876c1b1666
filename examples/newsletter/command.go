package main

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

// command carries out the commands in in.
func command(ctx context.Context, agent *delivery.Agent, in io.Reader, p *progress) {
	commands(bufio.NewScanner(in), func(verb, domain string) {
		what := queue.Subject{Kind: queue.OfTenant, Name: tenant}
		var err error
		if domain != "" {
			what.Kind = queue.OfDestination
			what.Name, err = queue.ParseDestination(domain)
		}
		if err != nil {
			p.say(err.Error())
			return
		}
		switch verb {
		case "pause":
			err = agent.Suspend(ctx, queue.Suspension{Subject: what, Terms: queue.Terms{Reason: "paused by hand"}})
		case "resume":
			_, err = agent.Resume(ctx, what)
		case "":
			return
		default:
			err = fmt.Errorf("unknown command %q; use pause or resume", verb)
		}
		if err != nil {
			p.say(err.Error())
		}
	})
}
