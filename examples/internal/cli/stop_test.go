package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// TestInput: a program that is told to stop does not wait for the rest of its input.
func TestInput(t *testing.T) {
	t.Run("all of it arrives", func(t *testing.T) {
		text := strings.Repeat("a line\n", 20_000)
		for name, in := range map[string]io.Reader{
			"at once":         strings.NewReader(text),
			"in pieces":       iotest.HalfReader(strings.NewReader(text)),
			"with its end":    iotest.DataErrReader(strings.NewReader(text)),
			"octet for octet": iotest.OneByteReader(strings.NewReader(text[:500])),
		} {
			got, err := io.ReadAll(Input(t.Context(), in))
			if err != nil || !bytes.HasPrefix([]byte(text), got) || len(got) != len(text) && len(got) != 500 {
				t.Errorf("%s: %d octets, %v", name, len(got), err)
			}
		}
	})
	t.Run("an error arrives with what was before it", func(t *testing.T) {
		broken := errors.New("broken")
		got, err := io.ReadAll(Input(t.Context(), io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken))))
		if string(got) != "abc" || !errors.Is(err, broken) {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("the end of the context ends it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancelCause(t.Context())
			in, writer := io.Pipe()
			defer writer.Close()
			told := errors.New("told to stop")
			time.AfterFunc(time.Minute, func() { stop(told) })
			go func() { _, _ = io.WriteString(writer, "abc") }()
			r := Input(ctx, in)
			got, err := io.ReadAll(r)
			if string(got) != "abc" || !errors.Is(err, told) {
				t.Errorf("%q, %v, want abc and the cause", got, err)
			}
			if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, told) {
				t.Errorf("again: %d, %v", n, err)
			}
		})
	})
}
