// Command relay is a queueing mail relay: SMTP in, a durable queue, MX or smart
// host out.
//
//	relay [flags]
//	relay queue [-queue WHERE] list|show ID|why ID|flush [DOMAIN]|hold ID|release ID|drop ID|fail ID [-json]
//	relay queue [-queue WHERE] suspend DOMAIN|SITE|resume DOMAIN|SITE|suspensions [-json]
//	relay sites [-queue WHERE] [-json]
//	relay tls-reports [-queue WHERE] [-day YYYY-MM-DD] [-json]
//	relay passwd -logins FILE USER [ADDRESS...]
//	relay migrate -queue postgres://… [-dry-run]
//
// It takes mail for anybody from clients it trusts (-trust), and mail for certain
// domains from everybody (-relay-domain), which is the role of a secondary MX. A
// message is answered 250 when its queue has it durably.
//
// With -queue postgres://…, any number of relays on any number of machines share one
// queue; relay migrate makes its tables. What one of them has in hand when it dies the
// others deliver, two minutes later at most.
//
// With -logins, users who log in over TLS may send to anybody, from their own addresses,
// wherever they are. The file has no passwords but what SCRAM needs to check them; relay
// passwd writes it.
//
// Each flag may be an environment variable, too (NEXTHOP_LISTEN and so on). As a service
// of systemd it tells when it takes mail, when it reads its files again and when it
// stops, and takes the sockets that systemd opens for it: nexthop-relay.service and
// nexthop-relay.socket are beside this file, and a Containerfile.
//
// Mail for its postmaster is taken from everybody, and goes to -postmaster, else to the
// postmaster of the first -relay-domain, else of this host; where there is no way to
// that, it is held in the queue.
//
// What a client can make it hold in memory is bounded: a session has 128 KiB of buffers,
// 256 KiB of envelope and 256 KiB of content; one client that is not trusted has 200
// sessions, and 8 MiB of envelopes and contents in them; all such clients have 32 MiB of
// these, all clients 64 MiB in a thousand sessions, which is 189 MiB with their buffers.
//
// What it does is the library's: policy.go decides who may send to whom, intake.go
// hands messages to a delivery.Agent, and relay.go puts the parts together.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

func main() {
	cli.IgnoreBrokenPipes()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main with its surroundings passed in.
func run(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "queue" {
		return administer(ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 && args[0] == "sites" {
		return sites(ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 && args[0] == "tls-reports" {
		return tlsReports(ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 && args[0] == "passwd" {
		return passwd(args[1:], stdin, stdout, stderr)
	}
	if len(args) > 0 && args[0] == "migrate" {
		return migrate(ctx, args[1:], stdout, stderr)
	}
	return relay(ctx, args, stdout, stderr)
}
