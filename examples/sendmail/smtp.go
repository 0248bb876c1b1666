//go:build unix

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
	"github.com/nexthop-mail/nexthop/examples/internal/compose"
	"github.com/nexthop-mail/nexthop/examples/internal/smtpd"
	"github.com/nexthop-mail/nexthop/queue"
)

// serveSMTP speaks SMTP with the calling program, until it says QUIT or closes its
// output.
func serveSMTP(ctx context.Context, c *config, stdin io.Reader, stdout io.Writer) error {
	l := newStdio(stdin, stdout)
	inner, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(l.ended, stop)
	s := &smtpd.Server{
		Name: c.domain, MaxSize: c.maxSize, Data: c.received,
		Trusted: func(netip.Addr) bool { return true },
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(inner, l, time.Minute) }()
	select {
	case err := <-served:
		if errors.Is(err, net.ErrClosed) { // the session has ended
			return nil
		}
		return err
	case <-ctx.Done(): // its input cannot be made to end
		return nil
	}
}

// received hands over a message that came by SMTP.
func (c *config) received(_ context.Context, t *smtpd.Transaction, content queue.Content) smtpd.Reply {
	s := &submission{Key: rand.Text(), From: &t.From, Return: t.Return, EnvelopeID: t.EnvelopeID, UTF8: t.UTF8}
	for _, r := range t.Recipients {
		s.Recipients = append(s.Recipients, recipient{r.Address, r.Notify, r.OriginalType, r.Original})
	}
	err := submit(c, s, func(w io.Writer) error { return completeContent(c, t.From, content, w) })
	e, _ := errors.AsType[*cli.Error](err)
	switch {
	case err == nil:
		return smtpd.Reply{Code: 250, Enhanced: "2.0.0", Text: "taken"}
	case e != nil && e.Code == cli.ExitData:
		return smtpd.Reply{Code: 554, Enhanced: "5.6.0", Text: err.Error()}
	default:
		return smtpd.Reply{Code: 451, Enhanced: "4.3.0", Text: err.Error()}
	}
}

// completeContent writes a content with the fields that it lacks.
func completeContent(c *config, from string, content queue.Content, w io.Writer) error {
	r, err := content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	in := bufio.NewReader(r)
	header, err := compose.ReadHeader(in)
	if err != nil {
		return err
	}
	header.Complete(compose.Origin{Address: c.qualify(from), Host: c.domain, Now: time.Now()})
	if _, err := header.WriteTo(w); err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	return err
}

// stdio is standard input and output as the one connection of a listener.
type stdio struct {
	io.Reader
	io.Writer
	once  sync.Once
	ended context.Context // when the connection is closed
	end   context.CancelFunc
}

func newStdio(in io.Reader, out io.Writer) *stdio {
	s := &stdio{Reader: in, Writer: out}
	s.ended, s.end = context.WithCancel(context.Background())
	return s
}

// local is the address of both ends.
func local() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// Accept is the connection once, and then waits for its end.
func (s *stdio) Accept() (conn net.Conn, err error) {
	s.once.Do(func() { conn = s })
	if conn == nil {
		<-s.ended.Done()
		err = net.ErrClosed
	}
	return conn, err
}

// Close is the end of the connection.
func (s *stdio) Close() error { s.end(); return nil }

// Addr, LocalAddr and RemoteAddr are this machine.
func (s *stdio) Addr() net.Addr       { return local() }
func (s *stdio) LocalAddr() net.Addr  { return local() }
func (s *stdio) RemoteAddr() net.Addr { return local() }

// SetDeadline and the others do nothing: the calling program may take as long as it
// likes.
func (s *stdio) SetDeadline(time.Time) error      { return nil }
func (s *stdio) SetReadDeadline(time.Time) error  { return nil }
func (s *stdio) SetWriteDeadline(time.Time) error { return nil }
