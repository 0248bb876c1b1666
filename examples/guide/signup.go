package guide

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/wneessen/go-mail"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
)

// SignUp is a handler that mails a confirmation to each new user.
type SignUp struct {
	Agent *delivery.Agent
}

// ServeHTTP submits the mail and reports that to the client.
func (s *SignUp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, address := r.FormValue("user"), r.FormValue("email")
	m := mail.NewMsg()
	if err := errors.Join(m.FromFormat("Example", "app@example.org"), m.To(address)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.Subject("Please confirm your address")
	m.SetDate()
	m.SetMessageID()
	m.SetBodyString(mail.TypeTextPlain, "Hello "+user+",\n\nhttps://example.org/confirm?t=123\n")
	message, err := Compose(m)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	message.Key = "confirm/" + user // a double click sends one mail
	message.Metadata = map[string]string{"user": user}

	// The mail is sent even if the browser goes away meanwhile.
	id, err := s.Agent.Submit(context.WithoutCancel(r.Context()), message)
	switch e, ok := errors.AsType[*delivery.Error](err); {
	case err == nil, errors.Is(err, queue.ErrDuplicate):
		fmt.Fprintln(w, "A mail is on its way.")
	case ok && !e.Temporary():
		http.Error(w, e.Error(), http.StatusBadRequest)
	default:
		slog.Error("submit", "id", id, "err", err)
		http.Error(w, "Please try again later", http.StatusServiceUnavailable)
	}
}

// Compose converts a message composed with go-mail to a message for nexthop.
func Compose(m *mail.Msg) (*queue.Message, error) {
	from, err := m.GetSender(false)
	if err != nil {
		return nil, err
	}
	to, err := m.GetRecipients()
	if err != nil {
		return nil, err
	}
	var content bytes.Buffer
	if _, err := m.WriteTo(&content); err != nil {
		return nil, err
	}
	message := &queue.Message{From: from, Content: queue.Bytes(content.Bytes())}
	for _, address := range to {
		message.Recipients = append(message.Recipients, queue.Recipient{Address: address})
	}
	return message, nil
}
