package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nexthop-mail/nexthop/queue"
)

// breaking is a content that calls a function after most of it was read.
type breaking struct {
	size  int
	stop  func() error
	begun bool
}

func (b *breaking) Size() int64 { return int64(b.size) + 1 }

func (b *breaking) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(make([]byte, b.size)), b)), nil
}

func (b *breaking) Read(p []byte) (int, error) {
	if err := b.stop(); err != nil {
		return 0, err
	}
	if b.begun {
		return 0, io.EOF
	}
	b.begun = true
	return copy(p, "."), nil
}

// A large content of a message that is not put is gone at once, whatever it was that kept
// the message from being put.
func TestContentOfMessageThatWasNotPut(t *testing.T) {
	const size = 1 << 20
	broken := errors.New("the client is gone")
	for name, put := range map[string]func(h *held) error{
		"the reader fails": func(h *held) error {
			m := mail("", "a@one.example")
			m.Content = &breaking{size: size, stop: func() error { return broken }}
			_, err := h.q.Put(t.Context(), h.now, m)
			return err
		},
		"the context ends": func(h *held) error {
			ctx, cancel := context.WithCancel(t.Context())
			m := mail("", "a@one.example")
			m.Content = &breaking{size: size, stop: func() error { cancel(); return nil }}
			_, err := h.q.Put(ctx, h.now, m)
			return err
		},
		"there is no room for the message": func(h *held) error {
			h.setFull(true)
			exec(t, h.p, h.o, "DROP TRIGGER is_full ON $.content")
			_, err := h.q.Put(t.Context(), h.now, mail(string(make([]byte, size)), "a@one.example"))
			return err
		},
		"there is no room for a report": func(h *held) error {
			h.put(1, 1)
			batch := settlements(h.claim(queue.ClaimOptions{}), queue.Failed)
			batch[0].Create = []*queue.Message{mail(string(make([]byte, size)), "sender@report.example")}
			h.setFull(true)
			exec(t, h.p, h.o, "DROP TRIGGER is_full ON $.content")
			h.settleAll(batch, []error{nil}, []bool{true})
			return queue.ErrFull
		},
		"a second report cannot be put": func(h *held) error {
			h.put(1, 1)
			batch := settlements(h.claim(queue.ClaimOptions{}), queue.Failed)
			batch[0].Create = []*queue.Message{mail(string(make([]byte, size)), "sender@report.example"), mail("report")}
			got, err := h.q.Settle(t.Context(), h.now, batch)
			return errors.Join(err, got[0].Err)
		},
		"its lease was lost": func(h *held) error {
			h.put(1, 1)
			batch := settlements(h.claim(queue.ClaimOptions{Lease: time.Second}), queue.Failed)
			h.now = h.now.Add(time.Minute)
			h.claim(queue.ClaimOptions{})
			batch[0].Create = []*queue.Message{mail(string(make([]byte, size)), "sender@report.example")}
			got, err := h.q.Settle(t.Context(), h.now, batch)
			return errors.Join(err, got[0].Err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeld(t)
			if err := put(h); err == nil {
				t.Fatal("the message was put")
			}
			var left int
			in := pgx.Identifier{h.o.Schema}.Sanitize()
			err := h.p.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM "+in+".content) + (SELECT count(*) FROM "+in+".upload)").Scan(&left)
			if err != nil || left > 0 {
				t.Errorf("%d rows of its content are left, %v", left, err)
			}
		})
	}
}
