package delivery_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/memory"
)

// withoutEnd is content without an end. It calls tired when more than a megabyte has been
// read, and fails a megabyte later, to end the test.
type withoutEnd struct {
	tired func()
	late  *bool
}

func (withoutEnd) Size() int64 { return -1 }

func (e withoutEnd) Open() (io.ReadCloser, error) {
	return io.NopCloser(&withoutEndReader{withoutEnd: e}), nil
}

type withoutEndReader struct {
	withoutEnd
	octets int
}

func (r *withoutEndReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "a line of text\n"[(r.octets+i)%15]
	}
	switch r.octets += len(p); {
	case r.octets > 3<<20:
		*r.late = true
		return 0, errors.New("it is still read")
	case r.octets > 3<<19:
		r.tired()
	}
	return len(p), nil
}

// TestContentWithoutEnd: content is read no longer than the context says, however much of
// it there is.
func TestContentWithoutEnd(t *testing.T) {
	for name, send := range map[string]func(context.Context, *queue.Message) error{
		"Send": func(ctx context.Context, m *queue.Message) error {
			s := &delivery.Sender{Hello: "from.test"}
			defer s.Close()
			report, err := s.Send(ctx, m)
			if got := report.Recipients[0].Outcome; got != queue.Deferred {
				t.Errorf("the outcome is %v", got)
			}
			return err
		},
		"Submit": func(ctx context.Context, m *queue.Message) error {
			a := &delivery.Agent{Queue: &memory.Queue{}, Sender: &delivery.Sender{Hello: "from.test"}, MaxSize: -1}
			_, err := a.Submit(ctx, m)
			return err
		},
		"Sign": func(ctx context.Context, m *queue.Message) error {
			a := &delivery.Agent{
				Queue: &memory.Queue{}, Sender: &delivery.Sender{Hello: "from.test"},
				Sign: func(context.Context, *queue.Message) (queue.Content, error) { return m.Content, nil },
			}
			short := *m
			short.Content = queue.String("Subject: s\n\ns\n")
			_, err := a.Submit(ctx, &short)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			m := message("u@e.test")
			late := false
			m.Content = withoutEnd{stop, &late}
			if err := send(ctx, m); !errors.Is(err, context.Canceled) || late {
				t.Errorf("%v, want the error of the context; still read after its end: %t", err, late)
			}
		})
	}
}
