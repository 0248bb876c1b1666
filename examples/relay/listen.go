package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/nexthop-mail/nexthop/examples/internal/cli"
)

// Names of sockets that systemd opens for the relay (FileDescriptorName=). A socket
// with any other name is for SMTP; systemd gives one by default.
const (
	socketSMTPS = "smtps" // TLS from the start
	socketHTTP  = "http"
)

// passedSockets returns the sockets that systemd has opened, by name. Those for mail
// replace -listen and -listen-tls, and the other replaces -http. The environment
// variables about them are for this process only.
func passedSockets() (map[string][]net.Listener, error) {
	files := activation.Files(true)
	sockets := make(map[string][]net.Listener)
	for i, f := range files {
		l, err := net.FileListener(f)
		if err != nil {
			return nil, fmt.Errorf("socket %d from systemd, %s: %w", i, f.Name(), err)
		}
		_ = f.Close() // the listener has its own copy
		name := f.Name()
		if name != socketSMTPS && name != socketHTTP {
			name = ""
		}
		if _, ok := l.Addr().(*net.TCPAddr); !ok && name != socketHTTP {
			return nil, fmt.Errorf("socket %d from systemd, %s: mail is taken from TCP sockets only", i, l.Addr())
		}
		sockets[name] = append(sockets[name], l)
	}
	return sockets, nil
}

// listenHTTP opens what answers HTTP, if anything does, or takes what systemd has opened.
func (p *parts) listenHTTP(o *options, passed map[string][]net.Listener) error {
	list := passed[socketHTTP]
	if len(list) == 0 && o.http != "" {
		l, err := net.Listen("tcp", o.http)
		if err != nil {
			return cli.Config("-http: %w", err)
		}
		list = []net.Listener{l}
	}
	if len(list) == 0 {
		return nil
	}
	p.web = newListeners(list)
	for _, l := range list {
		if err := o.actions.allowed(l.Addr()); err != nil {
			return err
		}
	}
	return nil
}

// listenMail opens what takes mail, or takes what systemd has opened.
func (p *parts) listenMail(o *options, passed map[string][]net.Listener) error {
	clear, secure := passed[""], passed[socketSMTPS]
	if len(clear)+len(secure) == 0 {
		l, err := net.Listen("tcp", o.listen)
		if err != nil {
			return cli.Config("-listen: %w", err)
		}
		clear = []net.Listener{l}
		if o.listenTLS != "" {
			l, err := net.Listen("tcp", o.listenTLS)
			if err != nil {
				return errors.Join(cli.Config("-listen-tls: %w", err), clear[0].Close())
			}
			secure = []net.Listener{l}
		}
	}
	p.listener = newListeners(clear)
	for _, l := range secure {
		if p.keys == nil {
			return cli.Config("a socket with TLS from the start needs -cert and -key")
		}
		p.listener.list = append(p.listener.list, tls.NewListener(l, p.keys.config()))
	}
	return nil
}

// ports returns the ports at which the relay accepts mail: those of systemd's sockets,
// or that of -listen. There is none if the system chooses it, or if -listen is invalid,
// which is reported when it is opened.
func (o *options) ports(passed map[string][]net.Listener) (list []uint16) {
	for _, l := range append(passed[""], passed[socketSMTPS]...) {
		if addr, ok := l.Addr().(*net.TCPAddr); ok {
			list = append(list, uint16(addr.Port))
		}
	}
	if len(list) > 0 {
		return list
	}
	_, text, err := net.SplitHostPort(o.listen)
	if err != nil {
		return nil
	}
	port, err := net.LookupPort("tcp", text)
	if err != nil || port == 0 {
		return nil
	}
	return []uint16{uint16(port)}
}

// listeners are several as one. Once they are closed, Accept still returns what they had
// accepted before.
type listeners struct {
	list     []net.Listener
	accepted chan accepted // closed when none of them accepts any more
	begin    sync.Once
	end      sync.Once
	closed   chan struct{}
}

func newListeners(list []net.Listener) *listeners {
	return &listeners{list: list, closed: make(chan struct{})}
}

type accepted struct {
	conn net.Conn
	err  error
}

// Accept waits for a connection to any of them.
func (l *listeners) Accept() (net.Conn, error) {
	l.begin.Do(func() {
		l.accepted = make(chan accepted)
		var all sync.WaitGroup
		for _, one := range l.list {
			all.Go(func() { l.accept(one) })
		}
		go func() {
			all.Wait()
			close(l.accepted)
		}()
	})
	if a, ok := <-l.accepted; ok {
		return a.conn, a.err
	}
	return nil, net.ErrClosed
}

// accept ends with the first error once all are closed.
func (l *listeners) accept(one net.Listener) {
	for {
		conn, err := one.Accept()
		if err != nil {
			select {
			case <-l.closed:
				return
			default:
			}
		}
		l.accepted <- accepted{conn, err}
	}
}

// Close closes all.
func (l *listeners) Close() (err error) {
	l.end.Do(func() {
		close(l.closed)
		for _, one := range l.list {
			err = errors.Join(err, one.Close())
		}
	})
	return err
}

// Addr returns the address of the first listener.
func (l *listeners) Addr() net.Addr { return l.list[0].Addr() }
