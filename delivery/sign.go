package delivery

import (
	"context"
	"errors"
	"io"

	"github.com/nexthop-mail/nexthop/delivery/internal/attempt"
	"github.com/nexthop-mail/nexthop/queue"
)

var errSignPanic = errors.New("the Sign hook panicked")

// signer has the Sign hook, and the function that calls it: see Agent.guard.
type signer struct {
	hook  func(ctx context.Context, m *queue.Message) (queue.Content, error)
	guard func(hook func()) (ok bool)
}

// sign asks the hook for the content to queue in place of m's.
func (s signer) sign(ctx context.Context, m *queue.Message) (c queue.Content, err error) {
	copied := *m // the hook may keep it, and change it
	if !s.guard(func() {
		if c, err = s.hook(ctx, &copied); err == nil && c != nil {
			if b := queue.BytesOf(c); b != nil {
				c = queue.Bytes(b)
			} else {
				c = signedContent{s.guard, c}
			}
		}
	}) {
		return nil, errSignPanic
	}
	if err == nil && c == nil {
		err = attempt.ErrNoContent
	}
	return c, err
}

// signError is a failure of the Sign hook. It may pass.
func signError(err error) *Error {
	return &Error{Stage: StageMessage, Verdict: NotNow, Enhanced: "4.7.0", Err: err}
}

// signedContent is content whose code belongs to the application. Its panics become
// errors, because the queue reads it where they would not be caught.
type signedContent struct {
	guard   func(hook func()) (ok bool)
	content queue.Content
}

func (s signedContent) Size() (n int64) {
	if !s.guard(func() { n = s.content.Size() }) {
		return -1
	}
	return n
}

func (s signedContent) Open() (r io.ReadCloser, err error) {
	if !s.guard(func() { r, err = s.content.Open() }) {
		return nil, errSignPanic
	}
	if err != nil {
		return nil, err
	}
	return signedReader{s.guard, r}, nil
}

type signedReader struct {
	guard  func(hook func()) (ok bool)
	reader io.ReadCloser
}

func (s signedReader) Read(p []byte) (n int, err error) {
	if !s.guard(func() { n, err = s.reader.Read(p) }) {
		return 0, errSignPanic
	}
	return n, err
}

func (s signedReader) Close() (err error) {
	if !s.guard(func() { err = s.reader.Close() }) {
		return errSignPanic
	}
	return err
}
