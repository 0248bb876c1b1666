package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

const from = "app@example.org"

// signUp is a handler that records users and mails a confirmation to each.
type signUp struct {
	agent *delivery.Agent
	users *users
}

func (s *signUp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := s.add(r.Context(), r.FormValue("user"), r.FormValue("email"))
	switch e, ok := errors.AsType[*delivery.Error](err); {
	case err == nil:
		fmt.Fprintln(w, "A mail is on its way.")
	case ok && !e.Temporary():
		http.Error(w, e.Reason(), http.StatusBadRequest)
	default:
		slog.Error("sign-up", "user", r.FormValue("user"), "err", err)
		http.Error(w, "Please try again later", http.StatusServiceUnavailable)
	}
}

func (s *signUp) add(ctx context.Context, name, email string) error {
	// The form can report at once that a domain does not exist. If DNS has no answer
	// for now, the agent will ask again.
	err := s.agent.Sender.Routable(ctx, from, email)
	if e, ok := errors.AsType[*delivery.Error](err); ok && !e.Temporary() {
		return e
	}
	u, err := s.users.change(name, func(u *user) {
		if u.Token == "" {
			*u = user{Name: name, Email: email, Token: rand.Text()}
		}
	})
	if err != nil {
		return err
	}
	// From here on the mail is sent even if the browser goes away.
	return s.mail(context.WithoutCancel(ctx), u)
}

// mail queues the confirmation for a user, unless it was queued before.
func (s *signUp) mail(ctx context.Context, u user) error {
	_, err := s.agent.Submit(ctx, &queue.Message{
		From:       from,
		Recipients: []queue.Recipient{{Address: u.Email}},
		Content: queue.String("From: Example <" + from + ">\nTo: " + u.Email + "\nSubject: Please confirm your address\n" +
			"Date: " + time.Now().Format(time.RFC1123Z) + "\nMessage-ID: <" + rand.Text() + "@app.example.org>\n" +
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n" +
			"Hello " + u.Name + ",\n\nhttps://example.org/confirm?token=" + u.Token + "\n"),
		Key:      "confirm/" + u.Name,
		Metadata: map[string]string{"user": u.Name},
	})
	if errors.Is(err, queue.ErrDuplicate) { // a double click, or one more sign-up
		return nil
	}
	return err
}

// event is a hook for Agent.Events. Every final outcome is in the queue before its event.
func (s *signUp) event(ctx context.Context, e delivery.Event) {
	switch e.Kind {
	case delivery.Delivered, delivery.Failed, delivery.Expired:
		if err := s.learn(ctx); err != nil {
			slog.Error("outcomes", "err", err)
		}
	}
}

// learn records the outcomes that the queue has had since the last one that was recorded.
func (s *signUp) learn(ctx context.Context) error {
	for after := s.users.position(); ; {
		page, err := queue.Outcomes(ctx, s.agent.Queue, queue.OutcomeOptions{After: after})
		if err != nil {
			return err
		}
		for _, o := range page.Outcomes {
			name, ours := strings.CutPrefix(o.Key, "confirm/")
			if !ours { // a report
				continue
			}
			if _, err := s.users.change(name, func(u *user) {
				u.Outcome, u.Position = o.Outcome.String()+": "+o.Reply.Text, o.Position
			}); err != nil {
				return err
			}
		}
		if after = page.Next; !page.More {
			return nil
		}
	}
}

// finish is called before the agent runs. A crash may have come before the mail of a user
// was queued, or before its outcome was recorded.
func (s *signUp) finish(ctx context.Context) error {
	if err := s.learn(ctx); err != nil {
		return err
	}
	for _, u := range s.users.waiting() {
		if err := s.mail(ctx, u); err != nil {
			slog.Error("sign-up", "user", u.Name, "err", err)
		}
	}
	return ctx.Err()
}
