package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/smtpd"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// relay is mx2: a server that takes mail in, a queue on disk, and an Agent that
// passes it on.
type relay struct {
	t       *teller
	eyes    *witness
	queue   *disk.Spool
	table   *smarthost.Table
	agent   *delivery.Agent
	server  smtpd.Server
	events  chan delivery.Event
	stop    context.CancelFunc
	working sync.WaitGroup
}

const relayName = "mx2.example.com"

// newRelay starts mx2.
func newRelay(t *teller, p *plan, w *world, dir string) (*relay, error) {
	r := &relay{t: t, eyes: &witness{who: "mx2", t: t}, events: make(chan delivery.Event, 100)}
	var err error
	if r.queue, err = disk.Open(dir, disk.Options{}); err != nil {
		return nil, err
	}
	self := []string{relayName}
	if p.selfless {
		self = nil
	}
	r.table = &smarthost.Table{Router: &mx.Router{
		Resolver: r.eyes.resolver(w.dns.Addr()), Self: self, Relay: true, AllowLoopback: true,
	}}
	r.agent = &delivery.Agent{
		Queue: r.queue,
		Sender: &delivery.Sender{
			Hello: relayName, Router: r.table, Port: w.port, Dial: r.eyes.connect,
			Content: delivery.ContentRelay, Trace: t.trace("mx2"),
		},
		Settings: delivery.Settings{Schedule: delivery.Delays{p.pause}, Jitter: -1},
		Events:   r.event,
	}
	r.server = smtpd.Server{Name: relayName, Rcpt: r.takes, Data: r.take}
	l, err := net.Listen("tcp", at(relayIP, w.port))
	if err != nil {
		return nil, errors.Join(err, r.queue.Close())
	}
	r.serve(l)
	return r, nil
}

// serve takes mail in and passes it on until Close.
func (r *relay) serve(l net.Listener) {
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	r.working.Go(func() {
		if err := r.server.Serve(ctx, l, time.Second); err != nil {
			r.t.say("mx2", "no longer takes mail: %v", err)
		}
	})
	r.working.Go(func() {
		if err := r.agent.Run(ctx); err != nil {
			r.t.say("mx2", "no longer passes mail on: %v", err)
		}
	})
}

// Close ends the relay and waits for it.
func (r *relay) Close() error {
	r.stop()
	r.working.Wait()
	return r.queue.Close()
}

// takes is whose mail mx2 takes: the domain's that it is the secondary of.
func (r *relay) takes(_ context.Context, _ *smtpd.Transaction, _ *queue.Recipient, destination string) smtpd.Reply {
	if destination != "example.com" {
		return smtpd.Reply{Code: 550, Enhanced: "5.7.1", Text: "not for this domain"}
	}
	return smtpd.Reply{}
}

// take puts a message into the queue. It is answered 250 only when it would
// survive a power cut.
func (r *relay) take(ctx context.Context, tx *smtpd.Transaction, content queue.Content) smtpd.Reply {
	id, err := r.agent.Submit(ctx, tx.Message(content))
	if err != nil {
		return smtpd.Reply{Code: 451, Enhanced: "4.3.0", Text: err.Error()}
	}
	r.t.say("mx2", "has the message on disk, and accepts it")
	return smtpd.Reply{Code: 250, Enhanced: "2.0.0", Text: "queued as " + id}
}

// event prints the outcome of a message.
func (r *relay) event(_ context.Context, e delivery.Event) {
	switch e.Kind {
	case delivery.Queued: // take has said so
	case delivery.Deferred:
		r.t.say("mx2", "keeps the message and tries again in %.1f s", time.Until(e.Next).Seconds())
	case delivery.Delivered:
		r.t.say("mx2", "%s", r.t.paint(green, fmt.Sprintf("has passed it on to %s: %d %s", e.Host, e.Code, e.Reply)))
	default:
		r.t.say("mx2", "%s %s: %s", e.Kind, e.Recipient, e.Reply)
	}
	select {
	case r.events <- e:
	default: // the caller has stopped waiting
	}
}

// await waits for an event of one kind, at most as long as the patience lasts.
func (r *relay) await(ctx context.Context, kind delivery.EventKind, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case e := <-r.events:
			if e.Kind == kind {
				return true
			}
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// drainEvents forgets the events so far.
func (r *relay) drainEvents() {
	for len(r.events) > 0 {
		<-r.events
	}
}

// waiting is how many messages mx2 has.
func (r *relay) waiting(ctx context.Context) int {
	total, err := queue.Total(ctx, r.queue)
	if err != nil {
		r.t.say("mx2", "cannot count its messages: %v", err)
		return -1
	}
	return total.Messages
}
