package attempt

import (
	"context"
	"net"
	"time"
)

// failing is a dialler that fails, or one that waits for the end if err is nil.
func failing(err error) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		if err == nil {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
}

// pass lets virtual time go by.
func pass(d time.Duration) { <-time.After(d) }
