//go:build unix

package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/queue"
)

// Limits on one user's simultaneous submissions, and on the time of a submission.
const (
	maxRequests = 50
	maxTime     = 5 * time.Minute
)

// userKey is the context key of who has connected.
type userKey struct{}

// serve answers the programs of this machine until ctx ends.
func (r *runner) serve(ctx context.Context, l net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathSubmit, r.handle(r.submitted))
	mux.HandleFunc("POST "+pathList, r.handle(r.listed))
	mux.HandleFunc("POST "+pathFlush, r.handle(r.flushed))
	s := &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: maxTime,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			uid, err := peerID(conn)
			if err != nil {
				uid = -1
			}
			return context.WithValue(ctx, userKey{}, uid)
		},
	}
	stopped := make(chan struct{})
	defer func() { <-stopped }()
	context.AfterFunc(ctx, func() {
		defer close(stopped)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if s.Shutdown(last) != nil {
			_ = s.Close()
		}
	})
	_ = s.Serve(l)
}

// handle answers a request of a user who is known and has not too many others.
func (r *runner) handle(do func(ctx context.Context, uid int, body io.Reader) (string, error)) http.HandlerFunc {
	var mu sync.Mutex
	requests := make(map[int]int)
	return func(w http.ResponseWriter, request *http.Request) {
		uid, _ := request.Context().Value(userKey{}).(int)
		mu.Lock()
		requests[uid]++
		tooMany := requests[uid] > maxRequests && uid != 0
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			if requests[uid]--; requests[uid] == 0 {
				delete(requests, uid)
			}
		}()
		var (
			text string
			busy bool
			err  error
		)
		switch {
		case uid < 0:
			err = &cli.Error{Code: cli.ExitTempFail, Err: errors.New("the system does not say who you are")}
		case tooMany:
			busy, err = true, temporary(errors.New("too many of your requests are under way"))
		default:
			text, err = do(request.Context(), uid, request.Body)
		}
		a := answer{Text: text}
		if err != nil {
			a = answer{Code: cli.ExitTempFail, Text: err.Error(), Busy: busy}
			if e, ok := errors.AsType[*cli.Error](err); ok {
				a.Code = e.Code
			}
		}
		_ = json.NewEncoder(w).Encode(a)
	}
}

// submitted takes a message.
func (r *runner) submitted(ctx context.Context, uid int, body io.Reader) (string, error) {
	in := bufio.NewReader(body)
	s, err := readEnvelope(in)
	if err != nil {
		return "", dataError(err)
	}
	return "", r.accept(context.WithoutCancel(ctx), uid, s, in)
}

// flushed tries queued mail now: all of it for the runner's own user and root, and
// their own for other users.
func (r *runner) flushed(ctx context.Context, uid int, _ io.Reader) (string, error) {
	r.collect(ctx)
	_, err := r.agent.Flush(ctx, mailOf(uid))
	return "", err
}

// mailOf is what a user may see.
func mailOf(uid int) queue.Selection {
	if uid == 0 || uid == os.Geteuid() {
		return queue.Selection{}
	}
	return queue.Selection{Tenant: tenant(uid)}
}

// listed is what waits, as mailq prints it.
func (r *runner) listed(ctx context.Context, uid int, _ io.Reader) (string, error) {
	var b strings.Builder
	messages, bytes := 0, int64(0)
	err := queue.Select(ctx, r.spool, mailOf(uid), func(e *queue.Entry, _ []int) error {
		if messages == 0 {
			fmt.Fprintf(&b, "%-22s %9s  %-19s  %s\n", "-Queue ID-", "--Size--", "---Arrival Time----", "-Sender/Recipient-------")
		}
		messages++
		bytes += e.Size
		held := ""
		if e.Held {
			held = "!" // on hold
		}
		fmt.Fprintf(&b, "%-22s %9d  %s  %s\n", e.Message.ID+held, e.Size, e.Message.Arrived.Local().Format(time.DateTime), clean(cmp.Or(e.Message.From, "<>")))
		for i := range e.Waiting {
			w := &e.Waiting[i]
			if w.Attempts > 0 {
				fmt.Fprintf(&b, "%60s\n", "("+clean(strings.TrimSpace(w.Reply.Host+" "+cli.Said(w.Reply.Code, w.Reply.Enhanced, w.Reply.Text)))+")")
			}
			fmt.Fprintf(&b, "%54s%s\n", "", clean(e.Message.Recipients[i].Address))
		}
		return nil
	}, nil)
	if err != nil {
		return "", err
	}
	if messages == 0 {
		return "Mail queue is empty\n", nil
	}
	fmt.Fprintf(&b, "-- %d Kbytes in %d Requests.\n", (bytes+1023)/1024, messages)
	return b.String(), nil
}
