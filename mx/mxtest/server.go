package mxtest

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Server is a DNS server on loopback, over UDP and TCP on one port. Set the fields, then
// call Start. It must not be copied after that.
type Server struct {
	// DNS has the answers. Several servers may share one. If nil, no name exists.
	DNS *DNS

	// Listen is the IP address and port. Default: 127.0.0.1:0, which is a free port.
	Listen string

	// NoUDP and NoTCP leave out one of the two transports; its port is closed.
	NoUDP, NoTCP bool

	udp  *net.UDPConn
	tcp  *net.TCPListener
	addr string
	done chan struct{} // closed when the server closes
	work sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// Start opens the sockets and answers until Close. The error is a *SyntaxError if the zone
// text cannot be read.
func (s *Server) Start() error {
	if s.done != nil {
		return errors.New("mxtest: the server was started before")
	}
	if s.DNS == nil {
		s.DNS = new(DNS)
	}
	if err := s.DNS.Validate(); err != nil {
		return err
	}
	if err := s.listen(); err != nil {
		return fmt.Errorf("mxtest: %w", err)
	}
	s.done = make(chan struct{})
	s.conns = make(map[net.Conn]struct{})
	if s.udp != nil {
		s.work.Go(s.serveUDP)
	}
	if s.tcp != nil {
		s.work.Go(s.serveTCP)
	}
	return nil
}

// Addr returns the host:port of a started server, for mx.Server.
func (s *Server) Addr() string { return s.addr }

// Close closes the sockets and returns when all goroutines of the server have ended. If
// the server was never started or is closed, it does nothing.
func (s *Server) Close() error {
	if s.done == nil {
		return nil
	}
	select {
	case <-s.done:
		return nil
	default:
		close(s.done)
	}
	err := s.closeSockets()
	s.mu.Lock()
	for conn := range s.conns {
		err = errors.Join(err, conn.Close())
	}
	s.conns = nil
	s.mu.Unlock()
	s.work.Wait()
	return err
}

func (s *Server) closeSockets() error {
	var udp, tcp error
	if s.udp != nil {
		udp = s.udp.Close()
	}
	if s.tcp != nil {
		tcp = s.tcp.Close()
	}
	return errors.Join(udp, tcp)
}

// listen opens both sockets on one port. A port that is free for the one may be
// taken for the other, so it tries again.
func (s *Server) listen() error {
	listen := s.Listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	if s.NoUDP && s.NoTCP {
		return errors.New("mxtest.Server: both NoUDP and NoTCP are set")
	}
	var err error
	for range 20 {
		if err = s.listenOn(listen); err == nil {
			return nil
		}
	}
	return err
}

func (s *Server) listenOn(listen string) error {
	s.udp, s.tcp = nil, nil
	if !s.NoUDP {
		addr, err := net.ResolveUDPAddr("udp", listen)
		if err != nil {
			return err
		}
		if s.udp, err = net.ListenUDP("udp", addr); err != nil {
			return err
		}
		listen = s.udp.LocalAddr().String()
	}
	if !s.NoTCP {
		addr, err := net.ResolveTCPAddr("tcp", listen)
		if err == nil {
			s.tcp, err = net.ListenTCP("tcp", addr)
		}
		if err != nil {
			return errors.Join(err, s.closeSockets())
		}
		listen = s.tcp.Addr().String()
	}
	s.addr = listen
	return nil
}

// sleep waits for the delay; false where the server closes first.
func (s *Server) sleep(delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.done:
		return false
	}
}
