package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/delivery/metrics"
	"github.com/nexthop-mail/nexthop/delivery/tlsrpt"
	"github.com/nexthop-mail/nexthop/delivery/trust"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/examples/internal/smtpd"
	"github.com/nexthop-mail/nexthop/queue"
)

// atTheEnd is how long what is in flight may take once the relay is told to stop. Both
// sides use it at the same time. 30 s is what is promised, and an agent may take 3 s more.
const atTheEnd = 26 * time.Second

// relay runs until ctx ends and gives the exit code.
func relay(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	// From now to the end SIGHUP does not end the relay: it may come while it starts, and
	// while it ends what is in flight.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	opts, err := parseFlags(args, stdout, stderr)
	if err != nil {
		return cli.Complain(stderr, "relay", err)
	}
	p, err := assemble(ctx, opts, stdout, cli.NewOutput(stderr))
	if err != nil {
		return cli.Complain(stderr, "relay", err)
	}
	p.hangup = hangup
	err = errors.Join(p.run(ctx), p.close())
	p.journal.flush()
	cli.Flush(p.journal.out)
	cli.Flush(p.log)
	if err != nil {
		return cli.Complain(stderr, "relay", &cli.Error{Code: cli.ExitTempFail, Err: err})
	}
	return cli.ExitOK
}

// parts are what a relay consists of.
type parts struct {
	queue    queue.Queue
	dir      string // the queue's, empty where it has none
	agent    *delivery.Agent
	server   *smtpd.Server
	listener *listeners
	control  net.Listener // for "relay queue"; nil where the queue has no directory
	web      *listeners   // for -http; nil without it
	journal  *journal
	log      io.Writer
	keys     *keyPair // nil without -cert
	logins   *logins  // nil without -logins
	numbers  *metrics.Recorder
	reporter *tlsrpt.Reporter // nil without -tls-reports
	options  *options
	settings delivery.Settings
	policy   *trust.Source // who may have mail; nil is everybody
	limits   cli.Watch
	hangup   <-chan os.Signal // SIGHUP
	broken   chan error       // the queue is of no use any more
	ending   atomic.Bool

	tlsCounts tlsrpt.Counts
}

// assemble makes the parts, in the order in which they can fail without harm: the
// queue is the last but the sockets.
func assemble(ctx context.Context, o *options, stdout, stderr io.Writer) (*parts, error) {
	p := &parts{options: o, broken: make(chan error, 1), log: stderr, journal: &journal{path: o.events, out: cli.NewOutput(stdout)}}
	passed, err := passedSockets()
	if err != nil {
		return nil, cli.Config("%w", err)
	}
	if o.actions != showOnly && o.http == "" && len(passed[socketHTTP]) == 0 {
		return nil, cli.Usage("-actions goes with -http")
	}
	machine, _ := os.Hostname()
	mark := markOf(machine, o.queue)
	sender, err := o.Sender(cli.Role{Relay: true, Ports: o.ports(passed), Mark: mark}, stderr)
	if err != nil {
		return nil, err
	}
	p.countTLS(sender)
	if p.keys, err = newKeyPair(o.cert, o.key); err != nil {
		return nil, cli.Config("-cert, -key: %w", err)
	}
	if p.logins, err = newLogins(o.logins); err != nil {
		return nil, cli.Config("-logins: %w", err)
	}
	if p.logins.readable() {
		fmt.Fprintf(stderr, "relay: -logins %s: everybody on this machine can read it, and guess passwords with it\n", o.logins)
	}
	rules, err := o.policy()
	if err != nil {
		return nil, err
	}
	if o.checkRoutes {
		rules.sender = sender
	}
	if p.settings, err = o.settings(); err != nil {
		return nil, err
	}
	if err := p.readLimits(sender); err != nil {
		return nil, cli.Config("-limits: %w", err)
	}
	if err := p.journal.open(); err != nil {
		return nil, cli.Config("-events: %w", err)
	}
	if p.queue, p.dir, err = openQueue(ctx, o.queue, asRelay); err != nil {
		return nil, err
	}
	if p.policy != nil && p.policy.Store == nil {
		p.policy.Store = p.policyStore()
	}
	if p.policy != nil && p.policy.Proofs == nil {
		p.policy.Proofs = p.proofStore()
	}
	name := o.Hello()
	if name == "" {
		name = "localhost"
	}
	p.agent = &delivery.Agent{
		Queue: p.queue, Sender: sender, Settings: p.settings, Reporter: name, Drain: atTheEnd, Lease: p.lease(),
		MaxSize: o.maxSize + 1024, // with the Received field
		Events: func(ctx context.Context, e delivery.Event) {
			p.numbers.Record(ctx, e)
			p.journal.write(&e)
			if e.Kind == delivery.PolicyNotice {
				p.complain("TLS", cli.AdviseOn(e.Err.Err))
			}
		},
	}
	p.numbers = &metrics.Recorder{Agent: p.agent, Queue: &counted{Queue: p.queue}, More: p.more}
	if err := p.reportTLS(); err != nil {
		return nil, errors.Join(cli.Config("-tls-reports: %w", err), p.close())
	}
	in := &intake{agent: p.agent, sender: sender, postmaster: o.postmasterAt(name), broken: p.giveUp, complain: p.complain}
	p.server = &smtpd.Server{
		Name: name, Mark: mark, MaxSize: o.maxSize, TLS: p.keys.config(), TempDir: p.dir,
		Trusted: rules.isTrusted, Names: o.Self, Postmaster: in.postmaster,
		Logins: p.logins.of(), Mail: p.logins.mail, Rcpt: rules.recipient, Data: in.message,
	}
	if err := p.listen(o, passed); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// listen opens the sockets.
func (p *parts) listen(o *options, passed map[string][]net.Listener) (err error) {
	if p.dir != "" {
		if p.control, err = listenControl(p.dir); err != nil {
			return cli.Config("the socket for relay queue: %w", err)
		}
	}
	if err := p.listenHTTP(o, passed); err != nil {
		return err
	}
	return p.listenMail(o, passed)
}

// close gives everything back that assemble took.
func (p *parts) close() error {
	for _, l := range []*listeners{p.listener, p.web} {
		if l != nil {
			_ = l.Close()
		}
	}
	if p.control != nil {
		_ = p.control.Close()
	}
	return queue.Close(p.queue)
}

// giveUp ends the relay: what supervises it starts it again, and the queue is then
// read anew.
func (p *parts) giveUp(err error) {
	select {
	case p.broken <- err:
	default:
	}
}

// run takes mail in and sends it out until ctx ends or the queue breaks.
func (p *parts) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	watched, unwatch := context.WithCancel(context.WithoutCancel(ctx)) // to the end of what is in flight
	defer unwatch()
	var mail, all sync.WaitGroup
	var serving, delivering error
	mail.Go(func() {
		defer stop()
		delivering = p.agent.Run(ctx)
	})
	mail.Go(func() {
		defer stop()
		serving = p.server.Serve(ctx, p.listener, atTheEnd)
	})
	all.Go(func() { p.followFiles(ctx) })
	if p.reporter != nil {
		all.Go(func() { _ = p.reporter.Run(ctx) }) // ends with ctx alone
	}
	if p.control != nil {
		all.Go(func() { serveControl(ctx, p.control, p.operate) })
	}
	if d := p.database(); d != nil {
		all.Go(func() { newResponder(p, d, p.server.Name).run(ctx) })
	}
	if p.web != nil {
		all.Go(func() { serveHTTP(watched, p.web, p.pages()) })
		for _, l := range p.web.list {
			fmt.Fprintf(p.log, "http %s\n", l.Addr())
		}
	}
	for _, l := range p.listener.list {
		fmt.Fprintf(p.log, "listening %s\n", l.Addr())
	}
	for _, name := range p.options.unknown {
		fmt.Fprintf(p.log, "relay: unknown setting %s\n", name)
	}
	all.Go(func() { p.tellSystemd(ctx) })
	var broken error
	select {
	case <-ctx.Done():
	case broken = <-p.broken:
		stop()
	}
	p.ending.Store(true)
	mail.Wait()
	unwatch()
	all.Wait()
	return errors.Join(serving, delivering, broken)
}
