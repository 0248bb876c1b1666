package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

const from = "app@example.org"

// signUp mails a welcome to each new user, and knows what became of it.
type signUp struct {
	agent *delivery.Agent
	after string // the position of the last outcome that was learned

	mu    sync.Mutex
	ended map[string]string // outcomes by user
}

func (s *signUp) signUp(w http.ResponseWriter, r *http.Request) {
	err := s.mail(r.Context(), r.FormValue("user"), r.FormValue("email"))
	switch e, ok := errors.AsType[*delivery.Error](err); {
	case err == nil, errors.Is(err, queue.ErrDuplicate): // a double click
		fmt.Fprintln(w, "A mail is on its way.")
	case ok && !e.Temporary():
		http.Error(w, e.Reason(), http.StatusBadRequest)
	default:
		slog.Error("sign-up", "user", r.FormValue("user"), "err", err)
		http.Error(w, "Please try again later", http.StatusServiceUnavailable)
	}
}

// mail queues the welcome for a user, unless it was queued before.
func (s *signUp) mail(ctx context.Context, user, email string) error {
	// The form can report at once that a domain does not exist. If DNS has no answer
	// for now, the agent will ask again.
	err := s.agent.Sender.Routable(ctx, from, email)
	if e, ok := errors.AsType[*delivery.Error](err); ok && !e.Temporary() {
		return e
	}
	_, err = s.agent.Submit(ctx, &queue.Message{
		From:       from,
		Recipients: []queue.Recipient{{Address: email}},
		Content: queue.String("From: Example <" + from + ">\nTo: " + email + "\nSubject: Welcome\n" +
			"Date: " + time.Now().Format(time.RFC1123Z) + "\nMessage-ID: <" + rand.Text() + "@app.example.org>\n" +
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n" +
			"Hello " + user + ",\n\nwelcome. Your account is ready: https://example.org/login\n"),
		Key:      "welcome/" + user,
		Metadata: map[string]string{"user": user},
	})
	return err
}

// status says what became of the mail to a user, "" if it is on its way.
func (s *signUp) status(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(w, s.ended[r.FormValue("user")])
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

// learn takes in the outcomes that the queue has had since it was called last. The first
// call takes in those of before the program was started.
func (s *signUp) learn(ctx context.Context) error {
	for o, err := range queue.OutcomesAfter(ctx, s.agent.Queue, s.after) {
		if err != nil {
			return err
		}
		if user, ours := strings.CutPrefix(o.Key, "welcome/"); ours { // else it is a report
			s.mu.Lock()
			s.ended[user] = o.Outcome.String() + ": " + o.Reply.Text
			s.mu.Unlock()
		}
		s.after = o.Position
	}
	return nil
}
