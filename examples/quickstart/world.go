package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// The hosts of the story, each with its own address.
const (
	mailIP  = "127.0.0.2"
	relayIP = "127.0.0.3"
	smartIP = "127.0.0.4"
)

// world is who there is: DNS, two hosts that take mail, and mx2.
type world struct {
	dns         mxtest.Server
	port        uint16 // of every mail server
	mail, smart *host
	mx2         *relay
}

// build makes a world in which the smart host is down and all other hosts are up.
func build(t *teller, p *plan, dir string) (*world, error) {
	w := &world{dns: mxtest.Server{DNS: &mxtest.DNS{Zone: p.zone}}}
	if err := w.dns.Start(); err != nil {
		return nil, err
	}
	port, err := freePort(mailIP, relayIP, smartIP)
	if err != nil {
		return nil, errors.Join(err, w.dns.Close())
	}
	w.port = port
	w.mail, w.smart = newHost("mail.example.com", mailIP, port), newHost("smart.example.net", smartIP, port)
	if err := w.mail.up(); err != nil {
		return nil, errors.Join(err, w.dns.Close())
	}
	if w.mx2, err = newRelay(t, p, w, dir); err != nil {
		w.mail.down()
		return nil, errors.Join(err, w.dns.Close())
	}
	return w, nil
}

// Close stops all hosts and waits for them.
func (w *world) Close() error {
	err := w.mx2.Close()
	w.mail.down()
	w.smart.down()
	return errors.Join(err, w.dns.Close())
}

// freePort returns a port that is free at all of the addresses.
func freePort(ips ...string) (uint16, error) {
	var lastErr error
	for range 20 {
		port, err := tryPort(ips)
		if err == nil {
			return port, nil
		}
		lastErr = err
	}
	return 0, lastErr
}

func tryPort(ips []string) (uint16, error) {
	var port uint16
	for _, ip := range ips {
		l, err := net.Listen("tcp", at(ip, port))
		if err != nil {
			return 0, err
		}
		defer l.Close()
		addr, err := netip.ParseAddrPort(l.Addr().String())
		if err != nil {
			return 0, err
		}
		port = addr.Port()
	}
	return port, nil
}

func at(ip string, port uint16) string { return net.JoinHostPort(ip, strconv.Itoa(int(port))) }

// host is a mail server that takes everything, holds its clients to the standards,
// and can go down and come back.
type host struct {
	*smtptest.Host
	addr    string
	l       net.Listener
	stop    context.CancelFunc
	serving sync.WaitGroup
}

func newHost(name, ip string, port uint16) *host {
	return &host{addr: at(ip, port), Host: &smtptest.Host{
		Name:       name,
		Extensions: []string{"PIPELINING", "CHUNKING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 10000000"},
	}}
}

// up begins to listen, if it does not already.
func (h *host) up() error {
	if h.stop != nil {
		return nil
	}
	l, err := net.Listen("tcp", h.addr)
	if err != nil {
		return err
	}
	var ctx context.Context
	ctx, h.stop = context.WithCancel(context.Background())
	h.l = l
	h.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			h.serving.Go(func() { h.Serve(ctx, conn) })
		}
	})
	return nil
}

// down closes the port and every connection.
func (h *host) down() {
	if h.stop == nil {
		return
	}
	_ = h.l.Close()
	h.stop()
	h.serving.Wait()
	h.stop = nil
}
