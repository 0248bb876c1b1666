package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/nexthop-mail/nexthop/delivery/smtptest"
	"github.com/nexthop-mail/nexthop/mx/mxtest"
)

// world is the DNS server and the mail servers of the story.
type world struct {
	dns      mxtest.Server
	port     uint16 // of every mail server
	listener net.Listener
	stop     context.CancelFunc
	serving  sync.WaitGroup
}

// build starts DNS and the secondary, and leaves the primary down.
func build(secondary *smtptest.Host) (*world, error) {
	w := &world{dns: mxtest.Server{DNS: &mxtest.DNS{Zone: zone}}}
	if err := w.dns.Start(); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.3:0")
	if err != nil {
		return nil, errors.Join(err, w.dns.Close())
	}
	addr, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening: %w", err), l.Close(), w.dns.Close())
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	w.listener, w.port = l, addr.Port()
	w.serving.Go(func() { w.accept(ctx, secondary) })
	return w, nil
}

func (w *world) accept(ctx context.Context, host *smtptest.Host) {
	for {
		conn, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.serving.Go(func() { host.Serve(ctx, conn) })
	}
}

// Close ends the servers and waits for them.
func (w *world) Close() error {
	err := w.listener.Close()
	w.stop()
	w.serving.Wait()
	return errors.Join(err, w.dns.Close())
}
