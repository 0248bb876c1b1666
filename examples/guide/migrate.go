package guide

import (
	"bytes"
	"context"
	"strings"

	"github.com/wneessen/go-mail"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/smarthost"
)

// newSender is called once; the sender keeps its connections.
func newSender() (*delivery.Sender, error) {
	table, err := smarthost.Via("submission://app:secret@mail.example.org")
	if err != nil {
		return nil, err
	}
	return &delivery.Sender{Hello: "app.example.org", Router: table}, nil
}

// withNexthop is the same program with nexthop.
func withNexthop(ctx context.Context, sender *delivery.Sender, to []string, content []byte) error {
	message := &queue.Message{From: "app@example.org", Content: queue.Bytes(content)}
	for _, address := range to {
		message.Recipients = append(message.Recipients, queue.Recipient{Address: address})
	}
	_, err := sender.Send(ctx, message)
	return err
}

// withGoMail is the old program, with go-mail.
func withGoMail(ctx context.Context, client *mail.Client, m *mail.Msg) error {
	return client.DialAndSendWithContext(ctx, m)
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
	// go-mail's addresses are in angle brackets.
	message := &queue.Message{From: strings.Trim(from, "<>"), Content: queue.Bytes(content.Bytes())}
	for _, address := range to {
		message.Recipients = append(message.Recipients, queue.Recipient{Address: strings.Trim(address, "<>")})
	}
	return message, nil
}

// withBoth composes with go-mail and delivers with nexthop.
func withBoth(ctx context.Context, sender *delivery.Sender, m *mail.Msg) error {
	message, err := Compose(m)
	if err != nil {
		return err
	}
	_, err = sender.Send(ctx, message)
	return err
}
