package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
)

// cluster is several relays on one database, each with clients that send it mail, and the
// host that all of it is for.
type cluster struct {
	*world
	url     string
	host    *smtptest.Host
	relays  []*process
	clients []*clients
	mail    *submitted
	args    []string
}

// perRelay is how many connections each relay of a cluster makes to the host at a time.
const perRelay = 5

func newCluster(t *testing.T, url string, relays int) *cluster {
	t.Helper()
	c := &cluster{
		world: newWorld(t, zone), url: url, host: modern("mail.example.com"), mail: &submitted{t: t, acked: make(map[string]bool)},
		relays: make([]*process, relays), clients: make([]*clients, relays),
	}
	c.start("127.0.0.2", c.host)
	c.args = []string{"-queue", url, "-lease", "30s", "-retry", "50ms", "-concurrency", strconv.Itoa(perRelay), "-no-dane", "-no-mta-sts"}
	for i := range relays {
		c.launch(i)
	}
	return c
}

// launch starts a relay and its clients.
func (c *cluster) launch(i int) {
	c.t.Helper()
	c.relays[i] = c.relay(c.args...)
	c.clients[i] = c.mail.clients(c.relays[i].addr.String(), 2)
}

// kill kills a relay (kill -9). Its clients end.
func (c *cluster) kill(i int) {
	c.relays[i].kill()
	c.clients[i].end()
}

// replace stops a relay in good order and starts another.
func (c *cluster) replace(i int) {
	c.t.Helper()
	c.relays[i].stop()
	c.clients[i].end()
	c.launch(i)
}

// progress waits until more messages were answered 250 at any relay.
func (c *cluster) progress(more int) {
	c.t.Helper()
	before := c.mail.count()
	eventually(c.t, "mail is taken", func() bool { return c.mail.count() >= before+more })
}

// settle ends the clients and waits until all that was answered 250 has arrived and the
// queue is empty.
func (c *cluster) settle() {
	c.t.Helper()
	for i := range c.clients {
		c.clients[i].end()
	}
	eventually(c.t, "all that was answered 250 arrives", func() bool {
		<-time.After(200 * time.Millisecond)
		return len(c.missing()) == 0
	})
	c.empty()
}

// empty waits until the queue is.
func (c *cluster) empty() {
	c.t.Helper()
	eventually(c.t, "the queue is empty", func() bool {
		<-time.After(200 * time.Millisecond)
		out, _, code := queueCommand(c.url, "list")
		return code == 0 && out == ""
	})
}

// stop stops all relays in good order.
func (c *cluster) stop() {
	c.t.Helper()
	var all sync.WaitGroup
	for _, r := range c.relays {
		all.Go(func() { r.stop() })
	}
	all.Wait()
}

// copies counts what the host has taken, by recipient.
func (c *cluster) copies() map[string]int {
	n := make(map[string]int)
	for _, m := range c.host.Messages() {
		n[m.Recipients[0].Address]++
	}
	return n
}

// missing is what was answered 250 and has not arrived.
func (c *cluster) missing() (list []string) {
	there := c.copies()
	c.mail.mu.Lock()
	defer c.mail.mu.Unlock()
	for name := range c.mail.acked {
		if there[name] == 0 {
			list = append(list, name)
		}
	}
	return list
}

// again is how many second copies have arrived.
func (c *cluster) again() (n int) {
	for _, copies := range c.copies() {
		n += copies - 1
	}
	return n
}

// within is how many messages arrived in a span of time.
func (c *cluster) within(from, to time.Time) (n int) {
	for _, m := range c.host.Messages() {
		if m.At.After(from) && m.At.Before(to) {
			n++
		}
	}
	return n
}

// submitted is what clients were answered 250 for.
type submitted struct {
	t    *testing.T
	next atomic.Int64 // numbers clients

	mu    sync.Mutex
	acked map[string]bool // recipients
	now   sync.Map        // clients at work
}

// count is how many, those included that are told by clients still at work.
func (s *submitted) count() (n int) {
	s.now.Range(func(key, _ any) bool {
		n += key.(*counter).count()
		return true
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return n + len(s.acked)
}

// clients send mail to a relay, one message after the other each, until they are ended.
type clients struct {
	cancel func()
	all    sync.WaitGroup
}

func (c *clients) end() {
	c.cancel()
	c.all.Wait()
}

func (s *submitted) clients(addr string, n int) *clients {
	ctx, cancel := context.WithCancel(context.Background())
	c := &clients{cancel: cancel}
	s.t.Cleanup(c.end)
	for range n {
		c.all.Go(func() {
			for ctx.Err() == nil {
				s.send(ctx, addr)
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond): // the relay or its database is gone
				}
			}
		})
	}
	return c
}

// send runs Postfix's smtp-source until it is not answered 250, or ctx ends. It sends each
// message to a recipient of its own, and counts what was answered 250.
func (s *submitted) send(ctx context.Context, addr string) {
	name := fmt.Sprintf("-c%d@example.com", s.next.Add(1))
	cmd, err := peer("postfix", "usr/sbin/smtp-source", "-d", "-c", "-N", "-s", "1", "-m", "1000000", "-l", "1000",
		"-f", "alice@example.org", "-t", name, addr)
	if err != nil {
		s.t.Error(err)
		<-ctx.Done()
		return
	}
	told := new(counter)
	cmd.Stdout = told
	s.now.Store(told, true)
	if err := cmd.Start(); err != nil {
		s.t.Error(err)
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // it ends badly
	stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Delete(told)
	for i := range told.count() {
		s.acked[strconv.Itoa(i+1)+name] = true
	}
}

// counter reads what smtp-source -c prints: the number of messages of which it has sent the
// content, and a return, each time. All but the last were answered 250.
type counter struct {
	mu   sync.Mutex
	text []byte
}

func (c *counter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, p...)
	if end := bytes.LastIndexByte(c.text, '\r'); end >= 0 { // the last whole number, and what follows
		begin := bytes.LastIndexByte(c.text[:end], '\r') + 1
		c.text = c.text[begin:]
	}
	return len(p), nil
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	number, _, whole := strings.Cut(string(c.text), "\r")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if !whole || err != nil {
		return 0
	}
	return n - 1
}

// peer is a program of a package that make setup has unpacked.
func peer(pkg, program string, args ...string) (*exec.Cmd, error) {
	dir, err := filepath.Abs(filepath.Join("..", "..", ".peers", pkg))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
		return nil, fmt.Errorf("%w; make setup downloads it", err)
	}
	libraries, err := filepath.Glob(filepath.Join(dir, "usr/lib/*"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(dir, program), args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "LC_ALL=C", "LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}
