package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// job is one issue for one list of subscribers.
type job struct {
	from, issue, spool, suppressed string
	subscribers, template          string
	expire                         time.Duration
	providers                      map[string]delivery.Group // by host
	sender                         *delivery.Sender
	events                         func(delivery.Event) // if not nil, called first
	in                             io.Reader            // commands
	out                            io.Writer            // the bar and the summary
}

// month is how long an issue may take, with all its runs.
const month = 30 * 24 * time.Hour

// tenant is whose mail it is in the spool.
const tenant = "newsletter"

// run submits every message, and returns when the outcome for each is known or ctx ends.
func (j *job) run(ctx context.Context) (err error) {
	letter, err := readLetter(j.template)
	if err != nil {
		return err
	}
	skip, err := openSuppressed(j.suppressed, j.spool)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, skip.Close()) }()
	subscribers, err := readAddresses(j.subscribers)
	if err != nil {
		return err
	}
	spool, err := disk.Open(j.spool, disk.Options{KeepKeys: month, KeepOutcomes: month})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, spool.Close()) }()

	if err := skip.catchUp(ctx, spool); err != nil {
		return err
	}
	waiting, err := queue.Total(ctx, spool)
	if err != nil {
		return err
	}
	agent := &delivery.Agent{
		Queue: spool, Sender: j.sender, Settings: j.settings(),
		Bounce: func(delivery.Event) bool { return false }, // the suppression list is enough
		Events: func(_ context.Context, e delivery.Event) {
			if j.events != nil {
				j.events(e)
			}
			skip.learn(e)
		},
	}
	if err := agent.Validate(); err != nil {
		return err
	}

	p := newProgress(j.out, len(subscribers), agent)
	p.expect(waiting.Messages) // of a run that was interrupted

	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(running) }()
	go command(running, agent, j.in, p)

	submitted := j.submit(ctx, agent, letter, skip, subscribers, p)
	if submitted == nil {
		p.wait(ctx)
	}
	stop()
	err = errors.Join(submitted, <-ended, skip.catchUp(context.WithoutCancel(ctx), spool))
	p.summary()
	return err
}

// settings returns the limits: those of a provider apply to all domains that it hosts.
func (j *job) settings() delivery.Settings {
	s := delivery.Settings{
		Expire: j.expire,
		Warn:   -1,
		Groups: j.providers,
	}
	for host := range j.providers {
		s.Rules = append(s.Rules, delivery.Rule{Match: delivery.Match{MX: host}, Group: host})
	}
	return s
}

// submit puts a message for each subscriber into the queue, unless an earlier run did.
func (j *job) submit(ctx context.Context, agent *delivery.Agent, l *letter, skip *suppressed, subscribers []string, p *progress) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(32) // calls at the same time share one write to the disk
	for _, to := range subscribers {
		if skip.has(to) {
			p.skip()
			continue
		}
		group.Go(func() error { return j.submitTo(groupCtx, to, agent, l, p) })
	}
	if err := group.Wait(); ctx.Err() == nil {
		return err
	}
	return nil // interrupted: the next run goes on
}

// submitTo puts the message for one subscriber into the queue.
func (j *job) submitTo(ctx context.Context, to string, agent *delivery.Agent, l *letter, p *progress) error {
	content, err := l.write(to)
	if err != nil {
		return err
	}
	p.expect(1)
	_, err = agent.Submit(ctx, &queue.Message{
		From:       j.from,
		Recipients: []queue.Recipient{{Address: to}},
		Content:    queue.String(content),
		Key:        j.issue + "/" + to,
		Guarantee:  queue.AtMostOnce, // a lost copy is better than two
		Tenant:     tenant,
	})
	if err == nil {
		return nil
	}
	bad, isBad := errors.AsType[*delivery.Error](err)
	p.expect(-1)
	switch {
	case errors.Is(err, queue.ErrDuplicate):
		p.skip()
		return nil
	case isBad && !bad.Temporary():
		p.refuse(to, bad)
		return nil
	}
	return fmt.Errorf("to %s: %w", to, err)
}
