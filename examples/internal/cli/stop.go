package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// UntilStopped returns a context that ends when the program is told to stop: by SIGINT, by
// SIGTERM, or by SIGHUP, which comes when its terminal is closed. If the program was started
// with nohup, SIGHUP does not stop it.
func UntilStopped() (context.Context, context.CancelFunc) {
	stops := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		stops = append(stops, syscall.SIGHUP)
	}
	return signal.NotifyContext(context.Background(), stops...)
}

// Input returns a reader of in that does not wait for it after ctx has ended. A Read that
// was waiting then takes what comes next from in, so in must not be used any more.
func Input(ctx context.Context, in io.Reader) io.Reader {
	return &input{ctx: ctx, in: in, buf: make([]byte, 32<<10)}
}

type input struct {
	ctx context.Context
	in  io.Reader
	buf []byte // of the goroutine that reads, until it has
}

// Read reads from in, or returns the cause of the end of ctx.
func (i *input) Read(p []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	type result struct {
		n   int
		err error
	}
	part := i.buf[:min(len(i.buf), len(p))]
	read := make(chan result, 1)
	go func() {
		n, err := i.in.Read(part)
		read <- result{n, err}
	}()
	select {
	case r := <-read:
		return copy(p, part[:r.n]), r.err
	case <-i.ctx.Done():
		return 0, context.Cause(i.ctx)
	}
}
