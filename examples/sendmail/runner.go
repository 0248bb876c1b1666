//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/nexthop-mail/nexthop/delivery"
	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/examples/internal/compose"
	"github.com/nexthop-mail/nexthop/queue"
	"github.com/nexthop-mail/nexthop/queue/disk"
)

// runner has the queue, and delivers.
type runner struct {
	config     *config
	spool      *disk.Spool
	sender     *delivery.Sender
	agent      *delivery.Agent
	quota      *quota
	collecting chan struct{}   // has an element while the maildrop is looked at
	left       map[string]bool // in that, and no mail
	mu         sync.Mutex      // of log
	log        io.Writer
}

// newRunner opens the queue. The error has the exit code 75 if another runner has it.
func newRunner(c *config, log io.Writer) (*runner, error) {
	if err := c.Check(); err != nil {
		return nil, cli.Config("%w", err)
	}
	r := &runner{config: c, log: log, collecting: make(chan struct{}, 1), left: make(map[string]bool)}
	sender, err := c.Sender(cli.Role{}, log)
	if err != nil {
		return nil, err
	}
	if err := makeDirectories(c); err != nil {
		return nil, err
	}
	r.spool, err = disk.Open(c.queue(), disk.Options{})
	if errors.Is(err, disk.ErrLocked) {
		return nil, temporary(err)
	} else if err != nil {
		return nil, cli.Config("%w", err)
	}
	r.sender = sender
	r.agent = &delivery.Agent{
		Queue: r.spool, Sender: sender, Settings: c.settings(), Reporter: c.domain, MaxSize: c.maxSize + 64<<10, Events: r.event,
	}
	r.quota = newQuota(c.quotaMessages, c.quotaBytes, r.used)
	return r, nil
}

// say prints a line.
func (r *runner) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.log, format+"\n", args...)
}

// event prints what becomes of mail, for the journal.
func (r *runner) event(_ context.Context, e delivery.Event) {
	line := e.Kind.String()
	if e.ID != "" {
		line = e.ID + " " + line
	}
	if e.Recipient != "" {
		line += fmt.Sprintf(" <%s>", clean(e.Recipient))
	}
	if e.Host != "" {
		line += " by " + clean(e.Host)
	}
	if reply := clean(cli.Said(e.Code, e.Enhanced, e.Reply)); reply != "" {
		line += ": " + reply
	}
	if !e.Next.IsZero() {
		line += ", next " + e.Next.Local().Format(time.DateTime)
	}
	r.say("%s", line)
}

// clean prevents text from others from ending a line of ours.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, s)
}

// tenant is whose mail a user's is.
func tenant(uid int) string { return fmt.Sprintf("uid=%d", uid) }

// accept takes a submission of a user, whose content follows in in. It returns when the
// queue has it for good.
func (r *runner) accept(ctx context.Context, uid int, s *submission, in *bufio.Reader) (err error) {
	c := r.config
	login, _ := whoAmI(uid)
	m := c.message(s, login)
	m.Tenant, m.Metadata = tenant(uid), map[string]string{"user": login}
	header, err := compose.ReadHeader(in)
	if err != nil {
		return dataError(err)
	}
	c.rewriteHeader(header)
	content, err := spool(func(w io.Writer) error {
		trace := queue.Received{By: c.domain, Comment: fmt.Sprintf("nexthop, from userid %d", uid), ID: s.Key[:min(len(s.Key), 20)]}
		_, err := io.WriteString(w, trace.String())
		if err == nil {
			_, err = header.WriteTo(w)
		}
		if err == nil {
			_, err = io.Copy(w, in)
		}
		return err
	}, c.maxSize+64<<10)
	if err != nil {
		return err
	}
	defer content.Close()
	m.Content = content
	if uid != 0 {
		if err := r.quota.take(ctx, m.Tenant, content.Size()); err != nil {
			return temporary(err)
		}
	}
	_, err = r.agent.Submit(ctx, m)
	if errors.Is(err, queue.ErrDuplicate) {
		return nil // it was taken before
	}
	if e, ok := errors.AsType[*delivery.Error](err); ok && !e.Temporary() {
		return dataError(err)
	}
	if err != nil {
		return temporary(err)
	}
	return nil
}

// Size is how many octets it has.
func (s *spooled) Size() int64 {
	if s.file == nil {
		return int64(len(s.text))
	}
	info, err := s.file.Stat()
	if err != nil {
		return -1
	}
	return info.Size()
}

// Open makes it a queue.Content.
func (s *spooled) Open() (io.ReadCloser, error) {
	return io.NopCloser(s.open()), nil
}

// runQueue is the queue runner. It runs until ctx ends.
func runQueue(ctx context.Context, c *config, stderr io.Writer) error {
	r, err := newRunner(c, cli.NewOutput(stderr))
	if err != nil {
		return err
	}
	l, err := listen(c.socket)
	if err != nil {
		return errors.Join(cli.Config("%w", err), r.spool.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	all.Go(func() {
		defer stop()
		err = r.agent.Run(ctx)
	})
	all.Go(func() { r.serve(ctx, l) })
	all.Go(func() { r.collectAlways(ctx) })
	r.say("listening %s", c.socket)
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	<-ctx.Done()
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	all.Wait()
	err = errors.Join(err, r.spool.Close())
	cli.Flush(r.log)
	if err != nil {
		return temporary(err)
	}
	return nil
}

// listen makes the socket, to which all users may connect.
func listen(path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%s: another runner listens there", path)
	}
	_ = os.Remove(path) // what a runner that died has left
	if err := os.MkdirAll(path[:strings.LastIndexByte(path, '/')+1], 0o755); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o666)
}

// quiet is how long no delivery must have been in flight before the queue counts as
// done.
const quiet = 500 * time.Millisecond

// settled is the time after which due mail has begun, if it can begin at all.
const settled = 3 * time.Second

// runOnce is a runner that collects the maildrop, tries all queued mail once, and ends.
func runOnce(ctx context.Context, c *config, stderr io.Writer) error {
	r, err := newRunner(c, stderr)
	if err != nil {
		return err
	}
	r.collect(ctx)
	began := time.Now()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.agent.Run(ctx) }()
	_, err = r.agent.Flush(ctx, queue.Selection{})
	for last := time.Now(); err == nil && ctx.Err() == nil && time.Since(last) < quiet; {
		var busy bool
		if busy, err = r.busy(ctx, began); busy {
			last = time.Now()
		}
		select {
		case <-ctx.Done():
		case <-time.After(quiet / 10):
		}
	}
	stop()
	if err = errors.Join(err, <-ended, r.spool.Close()); err != nil && !errors.Is(err, context.Canceled) {
		return temporary(err)
	}
	return nil
}

// busy reports whether something is under way, or due and not yet tried.
func (r *runner) busy(ctx context.Context, began time.Time) (busy bool, err error) {
	err = queue.Select(ctx, r.spool, queue.Selection{}, func(e *queue.Entry, _ []int) error {
		for i := range e.Waiting {
			w := &e.Waiting[i]
			// Mail that is due may have to wait because its site is held back.
			due := !e.Held && !w.Next.After(time.Now()) && time.Since(began) < settled
			busy = busy || w.Leased || due
		}
		return nil
	}, nil)
	return busy || r.agent.Stats().Deliveries > 0, err
}
