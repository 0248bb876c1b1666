package delivery_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// hidden is a limit of connections that a host does not tell: above it, it greets 421.
type hidden struct {
	net.Conn
	leave func()
}

func (h *hidden) Close() error { h.leave(); return h.Conn.Close() }

// TestHiddenLimit: a host that takes few connections is asked for too many now and then
// only, and gets its mail as fast as it takes it; also when its limit changes.
func TestHiddenLimit(t *testing.T) {
	for _, limit := range []int{1, 2, 4, 10} {
		t.Run(fmt.Sprintf("QUE-13 421 above %d connections", limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const messages, takes = 1500, 20 * time.Millisecond
				host := slowHost(takes)
				host.Discard = true
				o := newOffice(t, toHost(host))
				var mu sync.Mutex
				open, refused := 0, 0
				dial := o.net.DialContext
				o.agent.Sender.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					mu.Lock()
					defer mu.Unlock()
					if open >= limit {
						refused++
						ours, theirs := net.Pipe()
						go func() {
							_, _ = io.WriteString(theirs, "421 4.7.0 too many connections\r\n")
							theirs.Close()
						}()
						return ours, nil
					}
					open++
					c, err := dial(ctx, network, address)
					return &hidden{c, sync.OnceFunc(func() {
						mu.Lock()
						defer mu.Unlock()
						open--
					})}, err
				}
				for i := range messages {
					o.submit(numbered(i, queue.AtLeastOnce, "u@e.test"))
				}
				o.start()
				began := time.Now()
				for len(host.Messages()) < messages && time.Since(began) < 15*time.Minute {
					pass(100 * time.Millisecond)
				}
				took, best := time.Since(began), messages*takes/time.Duration(limit)
				mu.Lock()
				defer mu.Unlock()
				t.Logf("%d refused, %v, at best %v", refused, took, best)
				if refused > messages/100 {
					t.Errorf("%d connections were refused for %d messages, want one in a hundred at most", refused, messages)
				}
				if took > best*5/4+8*time.Second { // it finds the limit by one more a second
					t.Errorf("it took %v, where %v would do", took, best)
				}
			})
		})
	}
}
