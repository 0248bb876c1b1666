package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/examples/internal/smtpd"
	"github.com/nexthop-mail/nexthop/queue"
)

// atTheEnd is how long what is in flight may take once the relay is told to stop. Both
// sides use it at the same time, and 30 s is what is promised.
const atTheEnd = 28 * time.Second

// relay runs until ctx ends and gives the exit code.
func relay(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parseFlags(args, stderr)
	if err != nil {
		return cli.Complain(stderr, "relay", err)
	}
	p, err := assemble(opts, stdout, stderr)
	if err != nil {
		return cli.Complain(stderr, "relay", err)
	}
	err = errors.Join(p.run(ctx, stderr), queue.Close(p.queue))
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
	listener net.Listener
	journal  *journal
	options  *options
	broken   chan error // the queue is of no use any more
}

// assemble makes the parts, in the order in which they can fail without harm: the
// queue is the last but the sockets.
func assemble(o *options, stdout, stderr io.Writer) (*parts, error) {
	p := &parts{options: o, broken: make(chan error, 1), journal: &journal{path: o.events, out: stdout}}
	sender, err := o.Sender(true, stderr)
	if err != nil {
		return nil, err
	}
	certificate, err := o.certificate()
	if err != nil {
		return nil, err
	}
	rules, err := o.policy()
	if err != nil {
		return nil, err
	}
	if o.refuseNullMX {
		rules.sender = sender
	}
	settings, err := o.settings()
	if err != nil {
		return nil, err
	}
	if err := p.journal.open(); err != nil {
		return nil, cli.Config("-events: %w", err)
	}
	if p.queue, p.dir, err = openQueue(o.queue, "relay"); err != nil {
		return nil, err
	}
	name := o.Hello()
	if name == "" {
		name = "localhost"
	}
	p.agent = &delivery.Agent{
		Queue: p.queue, Sender: sender, Settings: settings, Reporter: name, Drain: atTheEnd,
		Events: func(e delivery.Event) { p.journal.write(&e) },
	}
	in := &intake{agent: p.agent, broken: p.giveUp}
	p.server = &smtpd.Server{
		Name: name, MaxSize: o.maxSize, TLS: certificate, TempDir: p.dir,
		Rcpt: rules.recipient, Data: in.message,
	}
	if p.listener, err = net.Listen("tcp", o.listen); err != nil {
		return nil, errors.Join(cli.Config("-listen: %w", err), queue.Close(p.queue))
	}
	return p, nil
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
func (p *parts) run(ctx context.Context, stderr io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	var serving, delivering error
	all.Go(func() {
		defer stop()
		delivering = p.agent.Run(ctx)
	})
	all.Go(func() {
		defer stop()
		serving = p.server.Serve(ctx, p.listener, atTheEnd)
	})
	all.Go(func() { p.reopen(ctx, stderr) })
	fmt.Fprintf(stderr, "listening %s\n", p.listener.Addr())
	var broken error
	select {
	case <-ctx.Done():
	case broken = <-p.broken:
		stop()
	}
	all.Wait()
	return errors.Join(serving, delivering, broken)
}

// reopen opens the events' file again at SIGHUP.
func (p *parts) reopen(ctx context.Context, stderr io.Writer) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			if err := p.journal.open(); err != nil {
				fmt.Fprintf(stderr, "relay: -events: %v\n", err)
			}
		}
	}
}

func (o *options) certificate() (*tls.Config, error) {
	if o.cert == "" {
		return nil, nil
	}
	c, err := tls.LoadX509KeyPair(o.cert, o.key)
	if err != nil {
		return nil, cli.Config("-cert, -key: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{c}}, nil
}
