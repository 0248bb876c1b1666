package smtpd

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexthop-mail/nexthop/queue"
)

// rig is a Server with what it has taken.
type rig struct {
	*Server
	addr string
	stop context.CancelFunc
	done chan struct{} // closed when Serve has returned

	mu       sync.Mutex
	messages []taken
}

type taken struct {
	Transaction
	content string
}

type listener = net.Listener

func start(t *testing.T, s *Server) *rig {
	t.Helper()
	return startOn(t, s, func(l listener) listener { return l })
}

// startOn starts a server that listens in another way.
func startOn(t *testing.T, s *Server, wrap func(listener) listener) *rig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l = wrap(l)
	ctx, stop := context.WithCancel(t.Context())
	r := &rig{Server: s, addr: l.Addr().String(), stop: stop, done: make(chan struct{})}
	s.Name, s.TempDir = "relay.example.net", t.TempDir()
	if s.Data == nil {
		s.Data = r.take
	}
	go func() {
		defer close(r.done)
		if err := s.Serve(ctx, l, 10*time.Second); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { stop(); <-r.done })
	return r
}

func (r *rig) take(_ context.Context, t *Transaction, c queue.Content) Reply {
	reader, err := c.Open()
	if err != nil {
		return Reply{451, "4.0.0", err.Error()}
	}
	defer reader.Close()
	b, err := io.ReadAll(reader)
	if err != nil || int64(len(b)) != c.Size() {
		return Reply{451, "4.0.0", "the content is not as long as it says"}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, taken{*t, string(b)})
	return Reply{250, "2.0.0", "taken"}
}

func (r *rig) all() []taken {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.messages
}

// client is a conversation.
type client struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (r *rig) dial(t *testing.T) *client {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return &client{conn, t, bufio.NewReader(conn)}
}

// say sends text as it is.
func (c *client) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatalf("writing %.40q: %v", text, err)
	}
}

// write sends text that is longer than what the connection holds: a failure is a reply
// that does not come.
func (c *client) write(text string) { _, _ = io.WriteString(c, text) }

// reply is the next reply, its lines joined by "|"; "" at the end of the connection.
func (c *client) reply() string {
	var lines []string
	for {
		l, err := c.r.ReadString('\n')
		if err != nil {
			return strings.Join(lines, "|")
		}
		lines = append(lines, strings.TrimSuffix(l, "\r\n"))
		if len(l) < 4 || l[3] != '-' {
			return strings.Join(lines, "|")
		}
	}
}

// want checks that the next replies begin with these.
func (c *client) want(replies ...string) {
	c.t.Helper()
	for _, want := range replies {
		if got := c.reply(); !strings.HasPrefix(got, want) || want == "" && got != "" {
			c.t.Fatalf("the reply is %q, want %q", got, want)
		}
	}
}

// cut hides the Received field from content.
func cut(t *testing.T, content string) string {
	t.Helper()
	if !strings.HasPrefix(content, "Received: ") {
		t.Errorf("no Received field: %.80q", content)
	}
	for strings.HasPrefix(content, "Received") || strings.HasPrefix(content, "\t") {
		_, content, _ = strings.Cut(content, "\r\n")
	}
	return content
}
