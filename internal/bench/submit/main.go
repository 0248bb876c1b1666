// Command submit sends messages through the library as an application would: with
// a durable queue, and an agent that empties it. It ends once all are delivered.
// The comparison measures it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"sync"
	"sync/atomic"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/internal/bench"
	"github.com/nexthop-mail/nexthop/mx"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// job is what the flags say.
type job struct {
	dir, dns, to, profile      string
	messages, size, submitters int
}

func main() {
	var j job
	flag.StringVar(&j.dir, "queue", "queue", "directory of the queue")
	flag.StringVar(&j.dns, "dns", "127.0.0.1:53", "DNS server")
	flag.StringVar(&j.to, "to", "", "recipient of all messages")
	flag.StringVar(&j.profile, "cpuprofile", "", "file for a profile of the processor's time")
	flag.IntVar(&j.messages, "messages", 1000, "how many")
	flag.IntVar(&j.size, "size", 10<<10, "octets of each")
	flag.IntVar(&j.submitters, "submitters", 100, "how many are submitted at once")
	sink := flag.String("bare", "", "send straight to this address instead, without the library")
	flag.Parse()
	run := func() error { return j.run(context.Background()) }
	if *sink != "" {
		run = func() error { return j.bare(*sink) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "submit:", err)
		os.Exit(1)
	}
}

// run submits the messages and returns when all are delivered.
func (j *job) run(ctx context.Context) (err error) {
	if j.profile != "" {
		f, err := os.Create(j.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	spool, err := disk.Open(j.dir, disk.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, spool.Close()) }()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	left := j.messages
	agent := &delivery.Agent{
		Queue: spool,
		Sender: &delivery.Sender{
			Hello:         "submit.test",
			Resolver:      &mx.Cache{Resolver: &mx.Client{Servers: []mx.Server{{Addr: j.dns}}}},
			AllowLoopback: true,
		},
		Events: func(_ context.Context, e delivery.Event) {
			switch e.Kind {
			case delivery.Queued:
			case delivery.Delivered:
				if left--; left == 0 {
					end(nil)
				}
			default:
				end(fmt.Errorf("%s: %w", e.Kind, e.Err))
			}
		},
	}
	running := make(chan error, 1)
	go func() { running <- agent.Run(ctx) }()
	j.submit(ctx, agent, end)
	err = <-running
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(err, cause)
	}
	return err
}

// submit submits the messages, several at once; the first error ends it all.
func (j *job) submit(ctx context.Context, agent *delivery.Agent, end context.CancelCauseFunc) {
	m := &queue.Message{
		From:       "sender@from.test",
		Recipients: []queue.Recipient{{Address: j.to}},
		Content:    queue.Bytes(bench.Content(j.size)),
	}
	var next atomic.Int64
	var submitting sync.WaitGroup
	for range j.submitters {
		submitting.Go(func() {
			for next.Add(1) <= int64(j.messages) {
				if _, err := agent.Submit(ctx, m); err != nil {
					end(err)
					return
				}
			}
		})
	}
	submitting.Wait()
}
