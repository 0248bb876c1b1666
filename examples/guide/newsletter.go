package guide

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

// newsletterSettings has limits for one large provider, for all domains that it hosts, and
// for all other receivers.
func newsletterSettings() delivery.Settings {
	return delivery.Settings{
		Expire: 48 * time.Hour,
		Warn:   -1, // nobody reads reports of delay about a newsletter
		Limits: delivery.Limits{PerSite: 10},
		Groups: map[string]delivery.Group{"provider": {Connections: 5, Rate: 20}},
		Rules:  []delivery.Rule{{Match: delivery.Match{MX: "mx.provider.example"}, Group: "provider"}},
	}
}

// Suppressed is a set of addresses that get no more mail, because earlier mail failed.
type Suppressed struct {
	mu   sync.Mutex
	list map[string]bool
}

// Learn adds the address of a failed recipient. It is a hook for Agent.Events.
func (s *Suppressed) Learn(_ context.Context, e delivery.Event) {
	if !e.BadAddress() { // other failures may be ours
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list == nil {
		s.list = make(map[string]bool)
	}
	s.list[strings.ToLower(e.Recipient)] = true
}

// Has reports whether an address is in the set.
func (s *Suppressed) Has(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list[strings.ToLower(address)]
}

// Publish submits an issue to every subscriber. It can be run again after a crash: the
// queue knows the keys of the messages that were submitted before.
func Publish(ctx context.Context, agent *delivery.Agent, s *Suppressed, issue string, subscribers []string, text string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32) // calls at the same time share one write to the disk
	for _, to := range subscribers {
		if s.Has(to) {
			continue
		}
		group.Go(func() error {
			_, err := agent.Submit(ctx, &queue.Message{
				From:       "news@example.org",
				Recipients: []queue.Recipient{{Address: to}},
				Content:    queue.String("From: news@example.org\nTo: " + to + "\n" + text),
				Key:        issue + "/" + to,
				Guarantee:  queue.AtMostOnce, // a lost copy is better than two
				Tenant:     "news",
				Priority:   -4, // other mail goes first
			})
			e, ok := errors.AsType[*delivery.Error](err)
			switch {
			case err == nil, errors.Is(err, queue.ErrDuplicate):
				return nil
			case ok && !e.Temporary():
				slog.Warn("not an address", "subscriber", to, "err", err)
				return nil
			}
			return fmt.Errorf("to %s: %w", to, err)
		})
	}
	return group.Wait()
}

// Settled returns how many messages of an issue have their final outcome.
func Settled(ctx context.Context, agent *delivery.Agent, subscribers int) (int, error) {
	waiting, err := queue.Total(ctx, agent.Queue)
	return subscribers - waiting.Messages, err
}

// Pause leaves the mail for a domain in the queue until Resume.
func Pause(ctx context.Context, agent *delivery.Agent, domain, reason string) error {
	domain, err := queue.ParseDestination(domain) // as a person may write it
	if err != nil {
		return err
	}
	return agent.Suspend(ctx, queue.Suspension{
		Subject: queue.Subject{Kind: queue.OfDestination, Name: domain},
		Terms:   queue.Terms{Reason: reason},
	})
}

// Resume ends the pause.
func Resume(ctx context.Context, agent *delivery.Agent, domain string) error {
	domain, err := queue.ParseDestination(domain)
	if err != nil {
		return err
	}
	_, err = agent.Resume(ctx, queue.Subject{Kind: queue.OfDestination, Name: domain})
	return err
}
