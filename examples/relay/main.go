// Command relay is a queueing mail relay: SMTP in, a durable queue, MX or smart host
// out.
//
//	relay [flags]
//	relay queue [-queue WHERE] list|show ID|why ID|flush [DOMAIN]|hold ID|release ID|drop ID|fail ID [-json]
//	relay queue [-queue WHERE] suspend DOMAIN|SITE|resume DOMAIN|SITE|suspensions [-json]
//	relay sites [-queue WHERE] [-json]
//	relay tls-reports [-queue WHERE] [-day YYYY-MM-DD] [-json]
//	relay passwd -logins FILE USER [ADDRESS...]
//	relay migrate -queue postgres://… [-dry-run]
//
// It accepts mail for any address from clients it trusts (-trust), and mail for certain
// domains from all clients (-relay-domain), which is the role of a secondary MX. It
// answers 250 once the message is durable in its queue.
//
// With -queue postgres://…, any number of relays on any number of machines share one
// queue; relay migrate creates its tables. If one of them dies, the others deliver the
// mail that it had claimed, within two minutes.
//
// With -logins, users who log in over TLS may send to any address, from their own
// addresses, from any network. The file has no passwords, only the data with which
// SCRAM checks them; relay passwd writes it.
//
// Each flag can also be set by an environment variable (NEXTHOP_LISTEN and so on). As a
// service of systemd, the relay reports when it is ready, when it reloads its files and
// when it stops, and uses the sockets that systemd opens for it. nexthop-relay.service,
// nexthop-relay.socket and a Containerfile are in this directory.
//
// Mail for its postmaster is accepted from all clients. It goes to -postmaster, else to
// the postmaster of the first -relay-domain, else of this host; if there is no route to
// that address, it is held in the queue.
//
// The memory that clients can use is limited. A session has 128 KiB of buffers, 256 KiB
// of envelope and 256 KiB of content. A client that is not trusted has 200 sessions,
// with 8 MiB of envelopes and contents in them. All such clients together have 32 MiB
// of these. All clients together have 64 MiB in a thousand sessions, which is 189 MiB
// with their buffers.
//
// The library does the work: policy.go decides which clients may send to which
// recipients, intake.go submits messages to a delivery.Agent, and relay.go puts the
// parts together.
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
		return passwd(ctx, args[1:], stdin, stdout, stderr)
	}
	if len(args) > 0 && args[0] == "migrate" {
		return migrate(ctx, args[1:], stdout, stderr)
	}
	return relay(ctx, args, stdout, stderr)
}
