package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
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
	_, err = s.mail(context.WithoutCancel(ctx), u)
	if errors.Is(err, queue.ErrDuplicate) { // a double click, or one more sign-up
		return nil
	}
	return err
}

// mail queues the confirmation for a user. If it was queued before, the error is
// ErrDuplicate, and the id is that of the first.
func (s *signUp) mail(ctx context.Context, u user) (id string, err error) {
	return s.agent.Submit(ctx, &queue.Message{
		From:       from,
		Recipients: []queue.Recipient{{Address: u.Email}},
		Content: queue.String("From: Example <" + from + ">\nTo: " + u.Email + "\nSubject: Please confirm your address\n" +
			"Date: " + time.Now().Format(time.RFC1123Z) + "\nMessage-ID: <" + rand.Text() + "@app.example.org>\n" +
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n" +
			"Hello " + u.Name + ",\n\nhttps://example.org/confirm?token=" + u.Token + "\n"),
		Key:      "confirm/" + u.Name,
		Metadata: map[string]string{"user": u.Name},
	})
}

// learn is the agent's Events hook. It records the outcome of the mail.
func (s *signUp) learn(_ context.Context, e delivery.Event) {
	switch e.Kind {
	case delivery.Delivered, delivery.Failed, delivery.Expired:
		s.record(e.Metadata["user"], e.Kind.String()+": "+e.Reply)
	}
}

func (s *signUp) record(name, outcome string) {
	if _, err := s.users.change(name, func(u *user) { u.Outcome = outcome }); err != nil {
		slog.Error("not recorded", "user", name, "outcome", outcome, "err", err)
	}
}

// finish is called before the agent runs. A crash may have come before the mail was queued:
// then it is queued now. Or it may have come after the mail had left and before its event:
// then the outcome is not known.
func (s *signUp) finish(ctx context.Context) error {
	for _, u := range s.users.waiting() {
		id, err := s.mail(ctx, u)
		if errors.Is(err, queue.ErrDuplicate) {
			if _, err = queue.Show(ctx, s.agent.Queue, id); errors.Is(err, queue.ErrNotFound) {
				s.record(u.Name, "unknown")
				err = nil
			}
		}
		if err != nil {
			slog.Error("sign-up", "user", u.Name, "err", err)
		}
	}
	return ctx.Err()
}
